"""Occlusion: how much less probable a class becomes when a grey patch hides a part of the image.

It works for every head, because it only asks for probabilities, and costs many passes of the network.

References:
    Zeiler, Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, arXiv:1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from featurebank.system.progress import Advance, no_advance

GRID = 10
"""The heat map has so many rows and columns, one patch for each of their cells."""
_PATCH = 3
"""The side of a patch in cells: smaller ones hide too little of an object."""
_GREY = 127


def patches(size: int) -> list[tuple[slice, slice]]:
    """Returns the rows and columns of each patch in a square of so many pixels, row by row of the heat map.

    Example:
        >>> patches(100)[0], patches(100)[55]
        ((slice(0, 20, None), slice(0, 20, None)), (slice(40, 70, None), slice(40, 70, None)))
    """
    middles = (np.arange(GRID) + 0.5) * size / GRID
    reach = _PATCH * size / GRID / 2
    sides = [slice(max(0, round(m - reach)), max(1, round(m + reach))) for m in middles.tolist()]
    sides = [slice(side.start, min(side.stop, size)) for side in sides]
    return [(rows, columns) for rows in sides for columns in sides]


def occlusion_map(
    square: np.ndarray, index: int, predict: Callable[[np.ndarray], np.ndarray], batch_size: int,
    advance: Advance = no_advance,
) -> np.ndarray:  # fmt: skip
    """Returns how much each patch lowers the probability of a class: (GRID, GRID) float32.

    Args:
        square: (s, s, 3) uint8, the input of the network.
        index: of the class.
        predict: images (n, s, s, 3) uint8 -> probabilities (n, classes).
        batch_size: the number of images per call of `predict`.
        advance: is called with the number of images of each batch.
    """
    before = float(predict(square[None])[0, index])
    drops = []
    for batch in _hidden(square, batch_size):
        drops.append(before - predict(batch)[:, index])
        advance(len(batch))
    return np.concatenate(drops).reshape(GRID, GRID).astype(np.float32)


def _hidden(square: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yields copies of an image, each with one patch, in batches."""
    places = patches(len(square))
    for start in range(0, len(places), batch_size):
        part = places[start : start + batch_size]
        batch = np.repeat(square[None], len(part), axis=0)
        for copy, place in zip(batch, part, strict=True):
            copy[place] = _GREY
        yield batch
