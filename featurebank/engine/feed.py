"""Feeds images to engines: a pool of threads decodes and prepares them ahead, once each, in order, in batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from featurebank.errors import BadImageError, LostImageError
from featurebank.system.parallel import ordered_map
from featurebank.system.runtime import threads

Lane = TypeVar("Lane", bound=object)
"""Key of an engine: images of different lanes never share a batch."""
Prepared = Sequence[tuple[Lane, int, np.ndarray]]
"""The prepared inputs of one image: for each, the lane, the number of the view and (size, size, 3) uint8."""


@dataclass(frozen=True)
class Batch(Generic[Lane]):
    """A batch of images for one engine."""

    lane: Lane
    indices: np.ndarray
    """(n,) positions in the dataset."""
    views: np.ndarray
    """(n,) uint8, 0 for the clean image."""
    images: np.ndarray
    """(n, size, size, 3) uint8 RGB."""


@dataclass(frozen=True)
class Bad:
    """An image that cannot be decoded."""

    index: int
    """Its position in the dataset."""
    reason: str
    lost: bool = False
    """Whether its file could not be read, so that its content is unknown."""


@dataclass
class _Filling:
    indices: list[int] = field(default_factory=list)
    views: list[int] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)

    def batch(self, lane: Lane) -> Batch[Lane]:
        return Batch(lane, np.array(self.indices, np.int64), np.array(self.views, np.uint8), np.stack(self.images))


def feed(
    prepare: Callable[[int], Prepared[Lane]], indices: Iterable[int], batch_size: int
) -> Generator[Batch[Lane] | Bad, None, None]:
    """Yields the images of a dataset in the requested order, in batches of one lane each.

    Memory is bounded: images are prepared at most two batches (and four per thread) ahead.

    Args:
        prepare: decodes an image and returns the input of each network that needs it; called in threads. It raises
            BadImageError if the image cannot be decoded.
        indices: positions in the dataset.
        batch_size: images per batch; the last batch of a lane may be smaller.

    Yields:
        Each batch when it is full, and the partial ones at the end; an undecodable image when its turn comes.
    """

    def read(index: int) -> tuple[int, Prepared[Lane] | BadImageError]:
        try:
            return index, prepare(index)
        except BadImageError as error:
            return index, error

    filling: dict[Lane, _Filling] = {}
    ahead = max(2 * batch_size, 4 * threads())
    for index, prepared in ordered_map(read, indices, name="decode", ahead=ahead):
        if isinstance(prepared, BadImageError):
            yield Bad(index, str(prepared), isinstance(prepared, LostImageError))
            continue
        for lane, view, image in prepared:
            rows = filling.setdefault(lane, _Filling())
            rows.indices.append(index)
            rows.views.append(view)
            rows.images.append(image)
            if len(rows.images) == batch_size:
                yield filling.pop(lane).batch(lane)
    for lane, rows in filling.items():
        yield rows.batch(lane)
