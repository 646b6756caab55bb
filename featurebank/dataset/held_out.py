"""Test images from another source: a second dataset becomes the test split."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.decoding.levels import Depths
from featurebank.dataset.fingerprint import Pixels, RedirectedPixels
from featurebank.dataset.splits import NO_LABEL, SPLITS, TEST, UNDECIDED, check_fractions
from featurebank.errors import ConfigError, DatasetError, unknown_name
from featurebank.system import digest
from featurebank.words import counted

_PREFIX = "test:"
_DIGITS = 6


class Joined(RedirectedPixels):
    """The pixels of two datasets, one after the other.

    Args:
        first: pixels of the first `count` images.
        second: pixels of the others.
        count: number of images in the first dataset.
    """

    def __init__(self, first: Pixels, second: Pixels, count: int) -> None:
        self.in_threads = first.in_threads or second.in_threads
        self._parts, self._count = (first, second), count

    @property
    def depths(self) -> Depths:
        """The largest values of deep images, by their index among both."""
        first, second = (getattr(pixels, "depths", None) or Depths() for pixels in self._parts)
        return Depths({**first.peaks, **{self._count + place: peak for place, peak in second.peaks.items()}})

    def at(self, index: int) -> tuple[Pixels, int]:
        """Returns the dataset of an image, and its index there."""
        second = index >= self._count
        return self._parts[second], index - self._count * second


def fractions_beside(split: Sequence[float] | None) -> tuple[float, float, float]:
    """Returns the fractions of a dataset whose test images come from another one.

    Raises:
        ConfigError: `split` is wrong, or has a fraction for test images of this dataset.
    """
    train, val, test = check_fractions(split)
    if split is not None and test > 0:
        message = (
            f"split is {split!r}, but the test images come from another dataset: expected two fractions, as (0.8, 0.2)"
        )
        raise ConfigError(message)
    return train / (train + val), val / (train + val), 0.0


def with_test(contents: Contents, test: Contents) -> Contents:
    """Returns a dataset with the images of another one as its test split.

    Args:
        contents: the images for training and validation.
        test: the test images; their classes are matched by name, and their own splits are ignored.

    Raises:
        DatasetError: the first dataset has test images itself.
        UnknownNameError: the second dataset has a class that the first has not.
    """
    codes = np.full(len(contents.ids), UNDECIDED, np.int8) if contents.predefined is None else contents.predefined
    if (codes == TEST).any():
        message = f"'{contents.spec}' has its own test images: leave out either these or '{test.spec}'"
        raise DatasetError(message)
    record = {**contents.subset, SPLITS[TEST]: test.spec}
    columns = contents.metadata.keys() & test.metadata.keys()
    return dataclasses.replace(
        contents,
        name=f"{contents.name}-{digest.of_recipe(record)[:_DIGITS]}",
        ids=(*contents.ids, *(_PREFIX + name for name in test.ids)),
        labels=np.concatenate([contents.labels, _matched(contents, test)]),
        pixels=Joined(contents.pixels, test.pixels, len(contents.ids)),
        predefined=np.concatenate([codes, np.full(len(test.ids), TEST, np.int8)]),
        notes=(*contents.notes, *test.notes),
        metadata={name: np.concatenate([contents.metadata[name], test.metadata[name]]) for name in columns},
        subset=record,
        further=None,
        weights=None if contents.weights is None else np.concatenate([contents.weights, np.ones(len(test.ids))]),
        groups=None if contents.groups is None or test.groups is None else np.r_[contents.groups, test.groups],
    )


def _matched(contents: Contents, test: Contents) -> np.ndarray:
    """Returns the labels of the test images as indices into the classes of the dataset: (n,) int32."""
    code = {name: index for index, name in enumerate(contents.classes)}
    for name in test.classes:
        if name not in code:
            hint = (
                f"the test images '{test.spec}' have it, '{contents.spec}' has "
                f"{counted(len(contents.classes), 'class')}"
            )
            raise unknown_name("class", name, contents.classes, hint)
    table = np.array([code[name] for name in test.classes], np.int32)
    return np.where(test.labels < 0, np.int32(NO_LABEL), table[test.labels])
