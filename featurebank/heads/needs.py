"""The kinds of features that heads are trained on: the values of `Head.needs` and `HeadKind.needs`."""

VECTORS = "vectors"
"""Features (n, d); maps are flattened."""
MAPS = "maps"
"""Maps (n, h, w, c)."""
MAPS_AT_A_CUT = "maps at a cut"
"""Maps that are the output of one layer of the bank's backbone (the cut); the head contains the layers after it."""
