"""Features that stay in the bank while heads are trained on them, because they do not fit into memory.

`features` has what maps and vectors share, and `vectors` the vectors with their blocks. Maps are in
`featurebank.heads.maps.stored`, beside the networks that read them. Nothing of this room knows a kind of head.
"""
