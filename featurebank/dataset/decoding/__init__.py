"""Decoding: from the bytes of an image file to an array (height, width, 3) uint8, or `BadImageError`.

Open `decode` first.
"""
