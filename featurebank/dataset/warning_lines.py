"""The warnings about a dataset: what a user should know about its images, classes and splits before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from featurebank.dataset.class_names import look_alikes, on_a_scale
from featurebank.dataset.splits import SPLITS, TRAIN
from featurebank.dataset.unlabelled_option import class_lines, unlabelled_line
from featurebank.dataset.weights import describe_weights
from featurebank.system.alike import enumerate_some
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.dataset.core import Dataset

FEW_GROUPS = 10
"""With fewer groups in a split, what is measured there says little about other groups."""
_MEMORISED = "a memorised image counts as recognised there; 'featurebank inspect' lists them"
"""What copies in several splits mean, and where they are listed."""


def warning_lines(dataset: Dataset, table: np.ndarray, *, files: bool = True) -> Iterator[str]:
    """Yields the problems of a dataset, one line each.

    If no image can be read, the consequences (empty splits and classes) are not listed.

    Args:
        dataset: with its content digests.
        table: (splits, classes) the number of readable images.
        files: also yield lines about unreadable files and copies, which an inspection reports one by one.
    """
    yield from dataset.contents.notes
    if files:
        yield from _unreadable_lines(dataset)
        yield from _copy_lines(dataset)
    if table.any():
        totals = table.sum(axis=0)
        yield from _class_lines(dataset, totals)
        yield from _rare_lines(dataset.classes, totals)
        yield from _split_lines(dataset, table)
        yield from _weight_lines(dataset)
        yield from unlabelled_line(dataset.labels[dataset.digests != b""])
        yield from class_lines(dataset.classes)
        if dataset.components is not None:
            readable = (dataset.digests != b"") & (dataset.labels >= 0)
            yield from group_lines(dataset.components[readable], dataset.splits[readable])


def _unreadable_lines(dataset: Dataset) -> Iterator[str]:
    if skipped := dataset.unreadable:
        number = counted(len(skipped), "image")
        yield f"{number} cannot be read, the first is '{skipped[0].id}': {skipped[0].reason}"


def _copy_lines(dataset: Dataset) -> Iterator[str]:
    """Yields a line about images whose copies are in other splits; a split by content keeps copies together."""
    if dataset.contents.predefined is None or dataset.components is not None:  # groups have a line of their own
        return
    readable = (dataset.digests != b"") & (dataset.labels >= 0)
    contents = np.unique(dataset.digests[readable], return_inverse=True)[1]
    if torn := _torn(contents, dataset.splits[readable]):
        yield f"{counted(torn, 'image')} with copies in several of the given splits: {_MEMORISED}"


def _class_lines(dataset: Dataset, totals: np.ndarray) -> Iterator[str]:
    if not dataset.contents.labelled:
        return
    if len(dataset.classes) == 1:
        yield (
            f"all images are of one class, '{dataset.classes[0]}': heads need two or more; use the folder that holds "
            "the class folders (or an array or a table with two labels)"
        )
    yield from look_alikes(dataset.classes)
    yield from on_a_scale(dataset.classes, totals)


def _rare_lines(classes: tuple[str, ...], totals: np.ndarray) -> Iterator[str]:
    words = {0: "no images", 1: "only one image"}
    for label in np.flatnonzero(totals <= 1):
        yield f"class '{classes[label]}' has {words[int(totals[label])]}"


def _split_lines(dataset: Dataset, table: np.ndarray) -> Iterator[str]:
    for code, split in enumerate(SPLITS):
        if dataset.fractions[code] == 0:
            continue
        if not table[code].any():
            yield f"split '{split}' has no images"
            continue
        missing = [dataset.classes[label] for label in np.flatnonzero(table[code] == 0)]
        if missing:
            classes = "class" if len(missing) == 1 else f"{len(missing)} of {len(dataset.classes)} classes:"
            yield f"split '{split}' has no images of {classes} {enumerate_some(missing)}"


def _weight_lines(dataset: Dataset) -> Iterator[str]:
    if dataset.weights is not None:
        used = (dataset.splits == TRAIN) & (dataset.digests != b"")
        yield describe_weights(dataset.weights[used], dataset.contents.weight_column)


def group_lines(parts: np.ndarray, splits: np.ndarray) -> Iterator[str]:
    """Yields a line about the splits that have few groups, and one about contents that given splits tear apart.

    Args:
        parts: (n,) the component of each readable image; see `grouping.components`.
        splits: (n,) codes of `SPLITS`.
    """
    numbers = {code: len(np.unique(parts[splits == code])) for code in range(len(SPLITS))}
    few = [f"{SPLITS[code]} {number}" for code, number in numbers.items() if code != TRAIN and 0 < number < FEW_GROUPS]
    if few:
        yield (
            f"few groups to measure on ({', '.join(few)}): what is measured there says little about other groups; find "
            "more groups, or use 'heads --folds', which validates on each group"
        )
    if torn := _torn(parts, splits):
        copies = f"{counted(torn, 'group')} with such copies"
        yield f"the given splits separate images with the same content ({copies}): {_MEMORISED}"


def _torn(parts: np.ndarray, splits: np.ndarray) -> int:
    """Returns how many parts have images in several splits.

    Args:
        parts: (n,) the part of each image, whole numbers.
        splits: (n,) codes of `SPLITS`.
    """
    sides = np.unique(parts.astype(np.int64) * len(SPLITS) + splits) // len(SPLITS)
    return int((np.unique(sides, return_counts=True)[1] > 1).sum())
