"""Cuts datasets into parts that another process can read: small, picklable, and without labels.

Files travel as their paths. Arrays and rows that a specification loads again travel as the specification and their
positions, and each process loads them once. Images that exist only in the memory of a program travel themselves.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.decoding.levels import Depths
from featurebank.dataset.fingerprint import Pixels, RedirectedPixels
from featurebank.dataset.splits import DEFAULT_FRACTIONS

_CLASS = "images"
_LOADED = 2
"""The number of datasets that a process keeps loaded."""


class DatasetCutter:
    """Cuts a dataset by the content digests of its images.

    Args:
        dataset: the dataset; its digests are computed now if they are not known.

    Example:
        >>> dataset = fb.load_dataset("digits")
        >>> part = DatasetCutter(dataset).cut(dataset.distinct()[:10])
        >>> len(part), part.distinct().tolist() == dataset.distinct()[:10].tolist()
        (10, True)
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._order = np.argsort(dataset.digests, kind="stable")
        self._sorted = dataset.digests[self._order]

    def cut(self, images: np.ndarray) -> Dataset:
        """Returns a dataset of the images with some digests, and of their duplicates.

        Args:
            images: content digests of the dataset, (n,) "S32".

        Returns:
            A dataset of one class, without labels, whose digests are known. It can be pickled.
        """
        starts, stops = (np.searchsorted(self._sorted, images, side=side) for side in ("left", "right"))
        places = [np.arange(start, stop) for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        indices = np.sort(self._order[np.concatenate([np.empty(0, np.int64), *places])])
        ids = tuple(self._dataset.ids[index] for index in indices.tolist())
        contents = Contents(
            self._dataset.name, self._dataset.spec, (_CLASS,), ids, np.zeros(len(ids), np.int32),
            cut_pixels(self._dataset.contents.pixels, indices.tolist()), labelled=self._dataset.contents.labelled,
        )  # fmt: skip
        part = Dataset(contents, DEFAULT_FRACTIONS, 0)
        part.know_digests(self._dataset.digests[indices])
        return part


def cut_pixels(pixels: Pixels, indices: Sequence[int]) -> Pixels:
    """Returns the pixels of some images, for another process; image i of them is image `indices[i]`."""
    homes: dict[int, tuple[Pixels, list[int], list[int]]] = {}
    for number, index in enumerate(indices):
        home, place = pixels, index
        while isinstance(home, RedirectedPixels):
            home, place = home.at(place)
        _, numbers, places = homes.setdefault(id(home), (home, [], []))
        numbers.append(number)
        places.append(place)
    parts = [_part(home, places) for home, _, places in homes.values()]
    if len(parts) == 1:
        return parts[0]
    which, rows = np.zeros(len(indices), np.int64), np.zeros(len(indices), np.int64)
    for part, (_, numbers, _) in enumerate(homes.values()):
        which[numbers], rows[numbers] = part, np.arange(len(numbers))
    return GatheredPixels(parts, which, rows)


def _part(home: Pixels, places: list[int]) -> Pixels:
    if spec := getattr(home, "spec", ""):
        return LoadedAgain(spec, np.array(places, np.int64), in_threads=home.in_threads)
    cut: Pixels = home.cut(places)  # type: ignore[attr-defined]  # all others have it, see `Pixels`
    return cut


class LoadedAgain(RedirectedPixels):
    """Some images of a dataset that a process loads by its specification, when it needs the first of them.

    Args:
        spec: the specification of the whole dataset.
        places: (n,) positions in it.
        in_threads: see `Pixels`.
    """

    def __init__(self, spec: str, places: np.ndarray, *, in_threads: bool) -> None:
        self.spec, self.in_threads = spec, in_threads
        self._places = places

    @property
    def depths(self) -> Depths | None:
        """The largest values of deep images, by their index in the whole dataset."""
        return getattr(_load(self.spec), "depths", None)

    def at(self, index: int) -> tuple[Pixels, int]:
        """Returns the whole dataset, and the index of an image there."""
        return _load(self.spec), int(self._places[index])


class GatheredPixels(RedirectedPixels):
    """Images of several sources.

    Args:
        parts: the sources.
        which: (n,) the number of the source of each image.
        rows: (n,) the index of each image in its source.
    """

    def __init__(self, parts: Sequence[Pixels], which: np.ndarray, rows: np.ndarray) -> None:
        self.in_threads = any(part.in_threads for part in parts)
        self._parts, self._which, self._rows = tuple(parts), which, rows

    def at(self, index: int) -> tuple[Pixels, int]:
        """Returns the source of an image, and its index there."""
        return self._parts[int(self._which[index])], int(self._rows[index])


@functools.lru_cache(_LOADED)
def _load(spec: str) -> Pixels:
    from featurebank.dataset.catalog import load_images
    from featurebank.dataset.options import DatasetOptions

    return load_images(spec, DatasetOptions()).contents.pixels
