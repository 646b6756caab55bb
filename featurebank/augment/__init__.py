"""Seeded augmentations of images: the same bytes on every machine, for every company and in any order.

A view of an image is decided by the digest of the image's content, the number of the view and the specification. Random
numbers are hashes, each parameter with a slot of its own, so that one more kind of augmentation in a specification
changes none of the others. Whatever touches a pixel is integer arithmetic: floating point appears only where the few
coefficients of an image are made, and is rounded to 16 fractional bits before use, so that the last digit of a
machine's cosine does not matter.
"""

from __future__ import annotations

from featurebank.augment.drawn import Drawn, draw
from featurebank.augment.specification import Augmentation
from featurebank.augment.views import augment

__all__ = ["Augmentation", "Drawn", "augment", "draw"]
