"""The tables of CUB-200-2011: four text files whose lines begin with the number of an image or of a class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from featurebank.dataset.readers.text_lists import Line, find_root, read_lines
from featurebank.dataset.sources.rows import Problems, TableRows
from featurebank.dataset.splits import TEST, TRAIN

IMAGES = "images.txt"
SPLIT = "train_test_split.txt"

_LABELS = "image_class_labels.txt"
_CLASSES = "classes.txt"
_CODES = {"1": TRAIN, "0": TEST}


@dataclass(frozen=True)
class _Table:
    name: str
    values: Mapping[str, str]
    lines: Mapping[str, int]


def is_cub(folder: str) -> bool:
    """Returns whether a folder holds such tables."""
    return all(os.path.isfile(f"{folder}/{name}") for name in (IMAGES, SPLIT))  # noqa: PTH113


def read_cub(folder: str, problems: Problems) -> tuple[str, TableRows]:
    """Reads images.txt and train_test_split.txt, and also image_class_labels.txt and classes.txt if they exist.

    A class without a name gets the name of the image's folder.

    Returns:
        The root of the paths, and the rows.

    Raises:
        DatasetError: a table is missing or cannot be read, or no image exists.
    """
    images = _table(folder, IMAGES, problems)
    split = _table(folder, SPLIT, problems)
    labels = _optional(folder, _LABELS, problems)
    classes = _optional(folder, _CLASSES, problems)
    for other in (split, labels):
        if other is not None:
            _check_partner(images, other, problems)
    for image, code in split.values.items():
        if code not in _CODES:
            problems.add(f"{SPLIT}, line {split.lines[image]}: '{code}', expected 1 for train or 0 for test")
    names = {image: _class(image, path, labels, classes, problems) for image, path in images.values.items()}
    problems.check()
    paths = list(images.values.values())
    listed = [Line(number, path) for number, path in enumerate(paths, 1)]
    root = find_root(f"{folder}/{IMAGES}", listed, [f"{folder}/images", folder])
    numbers = list(images.lines.values())
    codes = [_CODES[split.values[image]] for image in images.values]
    return root, TableRows(paths, list(names.values()), codes, lambda row: f"{IMAGES}, line {numbers[row]}")


def _optional(folder: str, name: str, problems: Problems) -> _Table | None:
    return _table(folder, name, problems) if os.path.lexists(f"{folder}/{name}") else None


def _table(folder: str, name: str, problems: Problems) -> _Table:
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line in read_lines(f"{folder}/{name}"):
        key, _, value = line.text.partition(" ")
        if not value.strip():
            problems.add(f"{name}, line {line.number}: '{line.text}', expected a number, a blank and a value")
        elif key in values:
            problems.add(f"{name}, line {line.number}: the number {key} is already in line {lines[key]}")
        else:
            values[key], lines[key] = value.strip(), line.number
    return _Table(name, values, lines)


def _check_partner(images: _Table, other: _Table, problems: Problems) -> None:
    for image in images.values:
        if image not in other.values:
            problems.add(f"{other.name} has no line for image {image} of {IMAGES}, line {images.lines[image]}")
    for image in other.values:
        if image not in images.values:
            problems.add(f"{other.name}, line {other.lines[image]}: {IMAGES} has no image {image}")


def _class(image: str, path: str, labels: _Table | None, classes: _Table | None, problems: Problems) -> str:
    """Returns the name of an image's class; reports a missing class unless it has been reported before."""
    number = None if labels is None else labels.values.get(image)
    if labels is not None and number is not None and classes is not None:
        if number not in classes.values:
            problems.add(f"{_LABELS}, line {labels.lines[image]}: {_CLASSES} has no class {number}")
        return classes.values.get(number, "")
    return path.rpartition("/")[0].rpartition("/")[2] or number or ""
