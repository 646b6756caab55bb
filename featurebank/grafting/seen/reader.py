"""Reads the images of a dataset together with their digests, which say where a model has seen them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.bank.index import first_bits
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.levels import Levels
from featurebank.grafting.seen.record import SeenImages


class OriginReader:
    """Reads images, and finds out where a model has seen them.

    Args:
        dataset: the dataset of the images.
        seen: what the model's file says about the images that the model has seen; None if it says nothing.
    """

    def __init__(self, dataset: Dataset, seen: SeenImages | None) -> None:
        self._dataset, self._seen = dataset, seen
        self._digests = np.empty(0 if seen is None else len(dataset), "S32")

    def image(self, index: int, levels: Levels | None = None) -> np.ndarray:
        """Reads and decodes one image; see `Dataset.image`."""
        if self._seen is None:
            return self._dataset.image(index, levels)
        image, self._digests[index] = self._dataset.image_with_digest(index, levels)
        return image

    def origins(self, indices: Sequence[int]) -> np.ndarray | None:
        """Returns the `Origin` of images that have been read, (n,) int64; None if the file says nothing."""
        return None if self._seen is None else self._seen.origins(first_bits(self._digests[indices]))
