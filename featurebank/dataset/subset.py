"""A part of a dataset: some classes, or a sample that does not depend on order, machine or other images."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.dataset.class_names import in_order
from featurebank.dataset.core import Contents
from featurebank.dataset.decoding.levels import Depths
from featurebank.dataset.fingerprint import Pixels, RedirectedPixels
from featurebank.dataset.splits import NO_LABEL
from featurebank.errors import ConfigError, unknown_name
from featurebank.system import digest
from featurebank.words import counted

_DIGITS = 6


@dataclass(frozen=True)
class Subset:
    """The specification of a part of a dataset.

    Args:
        classes: names, sorted; None for all.
        limit: images in all, or None.
        per_class: images of each class, or None.
    """

    classes: tuple[str, ...] | None = None
    limit: int | None = None
    per_class: int | None = None

    def record(self) -> dict[str, Any]:
        """Returns the specification as a JSON object; empty for the whole dataset."""
        values = {"classes": self.classes and list(self.classes), "limit": self.limit, "per_class": self.per_class}
        return {name: value for name, value in values.items() if value is not None}


class SelectedPixels(RedirectedPixels):
    """The pixels of some images of a dataset.

    Args:
        pixels: pixels of the whole dataset.
        positions: (n,) rows of the images.
    """

    def __init__(self, pixels: Pixels, positions: np.ndarray) -> None:
        self.in_threads = pixels.in_threads
        self._pixels = pixels
        self._positions = positions

    @property
    def depths(self) -> Depths | None:
        """The largest values of deep images, by their index in the whole dataset."""
        return getattr(self._pixels, "depths", None)

    def at(self, index: int) -> tuple[Pixels, int]:
        """Returns the whole dataset, and the index of an image there."""
        return self._pixels, int(self._positions[index])


def check_subset(classes: Sequence[str] | None, limit: int | None, per_class: int | None) -> Subset:
    """Checks the classes, as far as that can be done without the dataset.

    Raises:
        ConfigError: `classes` is no list of two different names or more.
    """
    names: tuple[str, ...] | None = None
    if classes is not None:
        names = in_order(classes)
        if len(names) < 2:  # noqa: PLR2004 - one class cannot be distinguished from anything
            message = f"classes is {list(classes)!r}: expected at least two different class names"
            raise ConfigError(message)
    return Subset(names, limit, per_class)


def select_subset(contents: Contents, subset: Subset) -> Contents:
    """Returns a part of a dataset.

    A hash of the ids decides which images belong to a sample: nothing is read, the order of listing does not matter,
    and an additional image displaces at most one other. The order of the ids is kept.

    Raises:
        UnknownNameError: there is no class of a specified name.
    """
    record = subset.record()
    if not record:
        return contents
    classes = subset.classes or contents.classes
    labels = _relabelled(contents, classes)
    sampled = subset.per_class is not None or subset.limit is not None
    positions = np.flatnonzero((labels >= 0) | ((contents.labels < 0) & (not sampled)))
    notes: list[str] = []
    if sampled:
        notes += ["images without a label are not in a sample: they are left out"] * bool((contents.labels < 0).any())
        order = positions[np.argsort(numbers([contents.ids[index] for index in positions]), kind="stable")]
        if subset.per_class is not None:
            order, short = _of_each_class(order, labels, classes, subset.per_class)
            notes += short
        positions = np.sort(order[: subset.limit])
    return dataclasses.replace(
        contents,
        name=f"{contents.name}-{digest.of_recipe(record)[:_DIGITS]}",
        classes=classes,
        ids=tuple(contents.ids[index] for index in positions),
        labels=labels[positions],
        pixels=SelectedPixels(contents.pixels, positions),
        predefined=None if contents.predefined is None else contents.predefined[positions],
        notes=(*contents.notes, *notes),
        metadata={name: column[positions] for name, column in contents.metadata.items()},
        subset=record,
        weights=None if contents.weights is None else contents.weights[positions],
        groups=None if contents.groups is None else contents.groups[positions],
        further=contents.further and contents.further.select(positions),
    )


def numbers(ids: Sequence[str]) -> np.ndarray:
    """Returns a pseudo-random number for each id: (n,) uint64, the same on every machine and in every version."""
    keyed = hashlib.blake2b(key=b"featurebank sample", digest_size=8, person=b"featurebank.1")

    def hashed(name: str) -> bytes:
        state = keyed.copy()  # cheaper than a new keyed hash for every image
        state.update(name.encode())
        return state.digest()

    return np.frombuffer(b"".join(map(hashed, ids)), "<u8")


def _relabelled(contents: Contents, classes: tuple[str, ...]) -> np.ndarray:
    """Returns (n,) int32 indices into `classes`, -1 for the images of other classes."""
    table = np.full(len(contents.classes), -1, np.int32)
    code = {name: index for index, name in enumerate(contents.classes)}
    for new, name in enumerate(classes):
        if name not in code:
            hint = f"'{contents.spec}' has {counted(len(contents.classes), 'class')}"
            raise unknown_name("class", name, contents.classes, hint)
        table[code[name]] = new
    return np.where(contents.labels < 0, np.int32(NO_LABEL), table[contents.labels])


def _of_each_class(
    order: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], count: int
) -> tuple[np.ndarray, list[str]]:
    """Returns the first `count` rows of each class, in their order, and a note about each class that has fewer."""
    by_class = order[np.argsort(labels[order], kind="stable")]
    totals = np.bincount(labels[order], minlength=len(classes))
    starts = np.cumsum(totals) - totals
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(by_class)) - np.repeat(starts, totals)
    short = np.flatnonzero(totals < count)
    notes = [f"class '{classes[label]}' has {counted(totals[label], 'image')}, not {count}" for label in short]
    return order[rank[order] < count], notes
