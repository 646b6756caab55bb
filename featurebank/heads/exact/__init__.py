"""Heads with an exact solution: closed forms, convex problems, kernels.

Open `base` first; `gram` and `shared` hold what all heads on the same images compute once.
"""
