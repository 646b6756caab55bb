"""Views: augmented versions of an image. A view depends only on the image's content, its number and the specification.

Knows no dataset and no bank. Open `specification` first.
"""

from __future__ import annotations

from featurebank.augment.parameters import ViewParameters, draw
from featurebank.augment.specification import Augmentation
from featurebank.augment.views import augment

__all__ = ["Augmentation", "ViewParameters", "augment", "draw"]
