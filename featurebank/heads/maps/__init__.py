"""Heads on maps (height, width, channels): convolutions and learned pooling.

Open `base` first, then `stems`; `stored` reads maps from a bank while a head is trained.
"""
