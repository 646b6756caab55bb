"""Writes runs for TensorBoard.

`tensorboard` is the entry; `graph` draws the head and the layers of a run.
"""
