"""Heads that are small Keras networks on stored maps: tails of the backbone, fresh residual stages.

Open `base` first.
"""
