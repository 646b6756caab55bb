"""Survey of a dataset: decodes every image once, and finds unusable images, image sizes and duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from featurebank.dataset.core import Dataset, Skipped
from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.levels import Levels
from featurebank.dataset.splits import SPLITS
from featurebank.errors import BadImageError
from featurebank.system.parallel import ordered_map

THUMBNAIL = 96
"""The longer side of a thumbnail in pixels, at most."""

_CHUNK = 32
_BINS = 20
_QUANTILES = {"min": 0.0, "p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}
_Part = list[Facts | str]

GROUPS_PICTURED = 30
"""Number of groups and pairs, from the first, that get thumbnails."""
PLACES_PICTURED = 6
"""Number of images of each of them that do."""


@dataclass(frozen=True)
class ImagePlace:
    """An image with its split and its class."""

    id: str
    split: str
    label: str
    """The name of its class."""


@dataclass(frozen=True)
class Duplicates:
    """Images with the same content."""

    digest: str
    images: tuple[ImagePlace, ...]
    across_splits: bool
    """Whether they are in different splits, so that a memorised image counts as recognised."""
    across_labels: bool
    """Whether they have different labels; then at most one label is correct."""

    @property
    def differ_in(self) -> str:
        """The columns in which the images differ: "labels", "splits", "labels and splits", or ""."""
        differences = {"labels": self.across_labels, "splits": self.across_splits}
        return " and ".join(name for name, is_so in differences.items() if is_so)


@dataclass(frozen=True)
class DuplicateList:
    """The groups of images with the same content, the most harmful first."""

    groups: tuple[Duplicates, ...]
    """The groups; only the first ones if there are too many."""
    total: int
    images: int
    """Number of images in all groups."""
    across_splits: int
    """Number of groups across splits."""
    across_labels: int
    """Number of groups across labels."""


@dataclass(frozen=True)
class Distribution:
    """Distribution of positive numbers: quantiles, and a histogram whose bins have equal ratios."""

    quantiles: Mapping[str, float]
    """"min", "p5", "p25", "median", "p75", "p95", "max"."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns the quantiles and `histogram` with `edges` (one more than counts) and `counts`."""
        return {**self.quantiles, "histogram": {"edges": list(self.edges), "counts": list(self.counts)}}


@dataclass(frozen=True)
class Survey:
    """The result of `survey`."""

    widths: np.ndarray
    """(n,) int32, pixels of each decoded image; 0 if it is unusable."""
    heights: np.ndarray
    formats: Mapping[str, int]
    """Number of images of each format, the most frequent first."""
    modes: Mapping[str, int]
    rotated: int
    """Number of images that were turned or mirrored by their EXIF orientation."""
    unreadable: tuple[Skipped, ...]

    @property
    def usable(self) -> np.ndarray:
        """(n,) bool: whether the image can be decoded."""
        return np.asarray(self.widths > 0)


def survey(
    dataset: Dataset, progress: Callable[[int], None] = lambda count: None, levels: Levels | None = None
) -> Survey:
    """Decodes every image of a dataset once, in threads, and keeps only its size, format and mode.

    Args:
        dataset: the images.
        progress: called from time to time, in this thread, with the number of further images that are done.
        levels: the range of grey images of more than eight bits.
    """
    dataset.fingerprint()  # so that files which change meanwhile are distinguished from damaged ones
    sizes = np.zeros((2, len(dataset)), np.int32)
    formats: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    unreadable: list[Skipped] = []
    index = rotated = 0
    for part in _parts(dataset, levels):
        for facts in part:
            if isinstance(facts, str):
                unreadable.append(Skipped(dataset.ids[index], facts))
            else:
                sizes[:, index] = facts.width, facts.height
                formats[facts.format] += 1
                modes[facts.mode] += 1
                rotated += facts.rotated
            index += 1
        progress(len(part))
    return Survey(
        sizes[0], sizes[1], dict(formats.most_common()), dict(modes.most_common()), rotated, tuple(unreadable)
    )


def count(dataset: Dataset, usable: np.ndarray) -> dict[str, dict[str, int]]:
    """Counts the usable images like `Dataset.counts`: {split: {class: number}}, with every split and every class."""
    size = len(dataset.classes)
    usable = usable & (dataset.labels >= 0)
    cells = dataset.splits[usable].astype(np.int64) * size + dataset.labels[usable]
    table = np.bincount(cells, minlength=len(SPLITS) * size).reshape(len(SPLITS), size)
    return {
        split: dict(zip(dataset.classes, row, strict=True)) for split, row in zip(SPLITS, table.tolist(), strict=True)
    }


def duplicates(dataset: Dataset, usable: np.ndarray, most: int) -> DuplicateList:
    """Finds images with the same content.

    Args:
        dataset: the images.
        usable: (n,) bool: the images to compare.
        most: number of groups to list with their images: first those across labels, then those across splits.
    """
    rows = np.flatnonzero(usable)
    rows = rows[np.argsort(dataset.digests[rows], kind="stable")]  # by content, then by position
    contents = dataset.digests[rows]
    starts = np.flatnonzero(np.r_[True, contents[1:] != contents[:-1]]) if len(rows) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[starts, len(rows)])
    splits, labels = (_differs(column[rows], starts) for column in (dataset.splits, dataset.labels))
    several = np.flatnonzero(sizes > 1)
    worst = several[np.lexsort((rows[starts[several]], -sizes[several], ~splits[several], ~labels[several]))]
    groups = tuple(
        Duplicates(
            bytes(contents[starts[group]]).decode(),
            tuple(place(dataset, row) for row in rows[starts[group] : starts[group] + sizes[group]].tolist()),
            bool(splits[group]),
            bool(labels[group]),
        )
        for group in worst[:most].tolist()
    )
    return DuplicateList(
        groups, len(several), int(sizes[several].sum()), int(splits[several].sum()), int(labels[several].sum())
    )


def place(dataset: Dataset, row: int) -> ImagePlace:
    """Returns an image with its split and its class."""
    return ImagePlace(dataset.ids[row], SPLITS[dataset.splits[row]], dataset.classes[dataset.labels[row]])


def distribution(values: np.ndarray) -> Distribution:
    """Describes positive numbers; all zeros if there are none."""
    if not len(values):
        return Distribution(dict.fromkeys(_QUANTILES, 0.0), (), ())
    values_at = np.quantile(values, list(_QUANTILES.values()))
    quantiles = {name: float(value) for name, value in zip(_QUANTILES, values_at, strict=True)}
    low, high = quantiles["min"], quantiles["max"]
    edges = np.geomspace(low, high, _BINS + 1) if high > low else np.array([low, high])
    edges[[0, -1]] = low, high  # exact in spite of rounding, so that no value falls outside
    counts = np.histogram(values, edges)[0] if high > low else [len(values)]
    return Distribution(quantiles, tuple(float(edge) for edge in edges), tuple(int(number) for number in counts))


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Shrinks an image to at most `THUMBNAIL` pixels: (h, w, 3) uint8. A smaller one stays as it is."""
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return np.asarray(small)


def _differs(column: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns, for each group, whether its values differ."""
    if not len(starts):
        return np.empty(0, bool)
    return np.asarray(np.minimum.reduceat(column, starts) != np.maximum.reduceat(column, starts))


def _part(dataset: Dataset, levels: Levels | None, start: int, stop: int) -> _Part:
    facts: _Part = []
    for index in range(start, stop):
        try:
            facts.append(dataset.facts(index, levels))
        except BadImageError as error:
            facts.append(str(error))
    return facts


def _parts(dataset: Dataset, levels: Levels | None) -> Iterator[_Part]:
    """Yields the facts of all images in order, with a bounded number in flight."""
    spans = [(start, min(start + _CHUNK, len(dataset))) for start in range(0, len(dataset), _CHUNK)]
    if not dataset.in_threads:
        yield from (_part(dataset, levels, *span) for span in spans)
        return
    yield from ordered_map(lambda span: _part(dataset, levels, *span), spans, name="survey")
