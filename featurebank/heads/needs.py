"""What a head may be trained on, as `Head.needs` and `HeadKind.needs` say it."""

VECTORS = "vectors"
"""Features (n, d); maps are flattened."""
MAPS = "maps"
"""Maps (n, h, w, c)."""
MAPS_AT_A_CUT = "maps at a cut"
"""The output of a layer of the bank's own backbone, whose layers after it the head takes over."""
