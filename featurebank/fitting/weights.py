"""The weights of training images: which images are trained on, and how much each of them counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in


class WeightedImages(NamedTuple):
    """Training images with their weights."""

    positions: np.ndarray
    """(n,) int64, positions in `Bank.ids()`; images of weight 0 are left out."""
    weights: np.ndarray | None
    """(n,) float64 above 0; None if all are 1."""


def training_images(bank: Bank, positions: np.ndarray, sample: int | None = None) -> WeightedImages:
    """Returns which of some images heads are trained on, with their weights.

    An image of weight 0 is left out, so that it changes nothing at all; if all others have the weight 1, there are no
    weights, so that the result is the same as without such a column.

    Args:
        bank: the bank.
        positions: (n,) positions of the training images in `Bank.ids()`.
        sample: the number of images to train on, the first of those that have a weight above 0; None for all.
    """
    weights = bank.sample_weights()
    if weights is None:
        return WeightedImages(positions[:sample], None)
    positions = positions[weights[positions] > 0][:sample]
    weights = weights[positions]
    return WeightedImages(positions, None if (weights == 1).all() else weights)


def labels_at(bank: Bank, positions: np.ndarray) -> np.ndarray:
    """Returns the labels of some training images, (n,) int32; no label of another split is read.

    Args:
        bank: the bank.
        positions: (n,) positions in `Bank.ids()` of images in the split "train".
    """
    return np.asarray(bank.labels("train")[np.searchsorted(positions_in(bank, "train"), positions)])
