"""Finds columns that look like groups whose images stand in several splits: patients, sessions, plants, scenes.

A column of a table may say which images belong together without anybody having told so. It looks like a group if it has
many values with a few images each, and either its name says so, or its values are codes such as "P017", or images of
one value nearly always have the same label. Measurements (age, price, year), dates and identifiers of single images do
not look like groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featurebank.dataset.core import FOLD, Dataset
from featurebank.dataset.splits import SPLITS
from featurebank.words import counted

_STRONG = frozenset({
    "patient", "patients", "subject", "subjects", "person", "participant", "individual", "animal", "specimen", "donor",
    "session", "series", "sequence", "scene", "video", "clip", "burst", "biopsy",
})  # fmt: skip
"""Words of names of columns that say what images have in common, however many values there are."""
_WEAK = frozenset({
    "people", "plant", "case", "study", "exam", "shoot", "visit", "slide", "lesion", "eye", "well", "plate", "group",
    "groups", "cluster", "user", "author", "owner", "photographer", "uploader", "observer", "camera", "trap", "site",
    "location", "plot", "field", "tree", "household", "product", "item", "object", "listing",
})  # fmt: skip
"""Words that may also name a property of few values, such as the model of a camera or the left and the right eye."""
_MEASURES = frozenset({
    "age", "year", "years", "month", "day", "hour", "date", "time", "timestamp", "price", "cost", "width", "height",
    "size", "bytes", "length", "area", "count", "number", "score", "rating", "weight", "latitude", "longitude", "lat",
    "lon", "temperature", "depth", "brightness", "exposure", "iso", "index", "row",
})  # fmt: skip
"""Words of names of columns with measurements."""
_DATE = re.compile(r"\d{1,4}[-/.:]\d{1,2}([-/.:]\d{1,4})?([ T].*)?")
_CODE = re.compile(r"(?=.*\d)[A-Za-z]{0,12}[-_ #]?[A-Za-z0-9]*\d[A-Za-z0-9]*([-_][A-Za-z0-9]+)*")
_SINGLE = 0.8
"""A column with more values than this share of the images identifies single images."""
_MANY = 20
"""The least number of values of a column that is not named like a group."""
_LARGEST = 0.2
"""The largest share of the images that one value may have."""
_SAME_LABEL = 0.5
"""How much more often than by chance images of one value have the same label: 0 is chance, 1 is always."""
_SHARED = 0.05
"""The least share of the values with several images that stand in several splits."""


@dataclass(frozen=True)
class GroupColumn:
    """A column that looks like a group whose images stand in several splits."""

    name: str
    values: int
    """The number of its values."""
    images: float
    """The mean number of images of a value."""
    shared: int
    """The number of values whose images stand in several splits."""

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)


def group_columns(dataset: Dataset, usable: np.ndarray) -> tuple[GroupColumn, ...]:
    """Returns the columns of a dataset that look like groups on several sides.

    Args:
        dataset: the dataset; its digests are computed if they are not known.
        usable: (n,) bool: the images to look at.
    """
    usable = usable & (dataset.labels >= 0)
    splits, labels = dataset.splits[usable], dataset.labels[usable]
    return tuple(
        found
        for name, column in dataset.metadata.items()
        if name != FOLD and (found := _look(name, np.asarray(column)[usable], labels, splits)) is not None
    )


def _look(name: str, column: np.ndarray, labels: np.ndarray, splits: np.ndarray) -> GroupColumn | None:
    texts = np.array([_text(value) for value in column.tolist()])
    filled = texts != ""
    if column.dtype.kind == "b" or filled.sum() < max(1, 0.9 * len(texts)):
        return None
    names, codes, counts = np.unique(texts[filled], return_inverse=True, return_counts=True)
    if not _is_grouping(name, names, counts) or not _is_meant(name, column, names, codes, labels[filled]):
        return None
    sides = np.zeros((len(names), len(SPLITS) + 1), bool)
    sides[codes, np.minimum(splits[filled], len(SPLITS))] = True
    shared = int((sides[:, : len(SPLITS)].sum(axis=1) > 1).sum())
    if shared < max(1, _SHARED * (counts > 1).sum()):
        return None
    return GroupColumn(name, len(names), float(counts.mean()), shared)


def _is_grouping(name: str, names: np.ndarray, counts: np.ndarray) -> bool:
    """Returns whether values have several images each, and none has many of all."""
    total = counts.sum()
    if len(names) > _SINGLE * total or counts[counts > 1].sum() < total / 2:
        return False
    return _is_named(name, _STRONG) or (len(names) >= _MANY and counts.max() <= _LARGEST * total)


def _is_meant(name: str, column: np.ndarray, names: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> bool:
    """Returns whether the name, the form of the values or the labels say that a column is a group."""
    is_named = _is_named(name, _STRONG | _WEAK)
    if _words(name) & _MEASURES and not is_named:
        return False
    if column.dtype.kind == "f" and not all(value.lstrip("-").isdigit() for value in names.tolist()):
        return False
    if column.dtype.kind not in "if":
        dates = sum(_DATE.fullmatch(value) is not None for value in names.tolist())
        if dates > len(names) / 2:
            return False
        if sum(_CODE.fullmatch(value) is not None for value in names.tolist()) > len(names) / 2:
            return True
    return is_named or _same_label(codes, labels) >= _SAME_LABEL


def _is_named(name: str, kinds: frozenset[str]) -> bool:
    """Returns whether a name says that a column is a group: "patient", but not "patient_age"."""
    words = _words(name)
    return bool(words & kinds) and not words & _MEASURES - {"number", "index"}


def _words(name: str) -> set[str]:
    """Returns the words of a name: "PatientID" and "patient_id" have patient and id."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return {word for word in re.split(r"[\W_\d]+", spaced.casefold()) if word}


def _same_label(codes: np.ndarray, labels: np.ndarray) -> float:
    """Returns how much more often than by chance two images of one value have the same label, from 0 to 1."""
    table = np.zeros((int(codes.max(initial=-1)) + 1, int(labels.max(initial=0)) + 1))
    np.add.at(table, (codes, labels), 1)
    sizes, totals = table.sum(axis=1), table.sum(axis=0)
    pairs = float((sizes * (sizes - 1)).sum())
    if not pairs:
        return 0.0
    same = float((table * (table - 1)).sum()) / pairs
    chance = float((totals * (totals - 1)).sum() / (totals.sum() * (totals.sum() - 1)))
    return 0.0 if chance >= 1 else (same - chance) / (1 - chance)


def _text(value: float | str) -> str:
    """Returns a value as a text; "" for a missing one."""
    if isinstance(value, float):
        return "" if np.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return str(value).strip()


def advice_on(columns: tuple[GroupColumn, ...]) -> Iterator[str]:
    """Yields a line for each column that looks like a group."""
    for column in columns:
        yield (
            f"column '{column.name}' looks like a group: it has {counted(column.values, 'value')} (images of a value: "
            f"{column.images:.1f} on average), and {column.shared} of them stand in several splits; if images of one "
            f"value are alike, accuracies look too good: --groups '{column.name}' keeps each on one side"
        )
