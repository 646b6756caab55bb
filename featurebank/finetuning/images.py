"""The training images of an epoch: in which order, as their augmentations show them, prepared ahead in threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from featurebank.augment import Augmentation, augment
from featurebank.extraction.source_images import Originals
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import threads

_AHEAD = 2
"""Batches that are prepared while one is trained on."""
_SEEDS = 1 << 20
"""Views of one image that a seed has before the next seed's begin."""


def order(images: int, batch_size: int, seed: Sequence[int]) -> list[np.ndarray]:
    """Returns the batches of an epoch: the places of all images in a random order.

    A last batch of one image goes into the one before: batch normalisation can learn nothing of one.

    Args:
        images: how many there are.
        batch_size: of each batch but the last.
        seed: numbers that tell this epoch from others.
    """
    rows = np.random.default_rng(list(seed)).permutation(images)
    starts = list(range(0, images, batch_size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return np.split(rows, starts[1:])


def view_of(seed: int, epoch: int) -> int:
    """Returns the number of the view in which images are shown in an epoch of a fine-tune, both counted from 0."""
    return 1 + seed * _SEEDS + epoch


def batches(
    images: Originals, rows: Sequence[np.ndarray], augmentation: Augmentation | None, view: int
) -> Iterator[np.ndarray]:
    """Yields batches of images (b, s, s, 3) uint8.

    Args:
        images: where they come from.
        rows: the places of each batch.
        augmentation: what they go through.
        view: which of its random views.
    """
    if images.in_memory and augmentation is None:
        yield from map(images.take, rows)
        return

    def prepare(part: np.ndarray) -> np.ndarray:
        found = images.take(part)
        return found if augmentation is None else augment(found, augmentation, images.digests[part], view)

    count = threads()
    parts = [[part for part in np.array_split(batch, count) if len(part)] for batch in rows]
    prepared = ordered_map(prepare, chain.from_iterable(parts), name="images", ahead=(1 + _AHEAD) * count)
    for batch in parts:
        yield np.concatenate(list(islice(prepared, len(batch))))
