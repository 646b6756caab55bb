"""From the bytes of an image file to pixels: array (height, width, 3), uint8, or `BadImageError`.

Open `decode` first.
"""
