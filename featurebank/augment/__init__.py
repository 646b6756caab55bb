"""Views: augmented versions of an image that depend on its content, the number of the view and the specification alone.

Knows no dataset and no bank. Open `specification` first.
"""

from __future__ import annotations

from featurebank.augment.parameters import Drawn, draw
from featurebank.augment.specification import Augmentation
from featurebank.augment.views import augment

__all__ = ["Augmentation", "Drawn", "augment", "draw"]
