"""The training images of an epoch: their order and augmentation, prepared ahead in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from featurebank.augment import Augmentation, augment
from featurebank.extraction.source_images import SourceImages
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import threads

_AHEAD = 2
"""The number of batches that are prepared during a training step."""
_SEEDS = 1 << 20
"""The number of views of one image that are reserved for each seed."""


def order(images: int, batch_size: int, seed: Sequence[int]) -> list[np.ndarray]:
    """Returns the batches of an epoch: the indices of all images in a random order.

    A last batch of one image is merged with the previous batch: batch normalisation needs several images.

    Args:
        images: the number of images.
        batch_size: the size of each batch but the last.
        seed: numbers that identify the epoch.
    """
    rows = np.random.default_rng(list(seed)).permutation(images)
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return np.split(rows, starts[1:])


def view_of(seed: int, epoch: int) -> int:
    """Returns the number of the augmented view that an epoch of a fine-tune uses; both count from 0."""
    return 1 + seed * _SEEDS + epoch


def batches(
    images: SourceImages, rows: Sequence[np.ndarray], augmentation: Augmentation | None, view: int
) -> Iterator[np.ndarray]:
    """Yields batches of images (b, s, s, 3) uint8.

    Args:
        images: the source of the images.
        rows: the indices of each batch.
        augmentation: the augmentation to apply; None for none.
        view: the number of its random view.
    """
    if images.in_memory and augmentation is None:
        yield from map(images.read, rows)
        return

    def prepare(part: np.ndarray) -> np.ndarray:
        pixels = images.read(part)
        return pixels if augmentation is None else augment(pixels, augmentation, images.digests[part], view)

    count = threads()
    parts = [[part for part in np.array_split(batch, count) if len(part)] for batch in rows]
    prepared = ordered_map(prepare, chain.from_iterable(parts), name="images", ahead=(1 + _AHEAD) * count)
    for batch in parts:
        yield np.concatenate(list(islice(prepared, len(batch))))
