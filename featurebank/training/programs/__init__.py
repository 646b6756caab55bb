"""The compiled programs that train many heads at once; the only modules here that import TensorFlow at their top.

`dense.py` explains the algebra of heads side by side, `dense_blocks.py` cuts large kernels, `maps.py` trains on maps.
"""
