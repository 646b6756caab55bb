"""Columns of metadata as numbers: a number is a feature, and each category of a text is a feature that is 0 or 1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featurebank.errors import DatasetError, unknown_name
from featurebank.system.alike import enumerate_some
from featurebank.words import counted, shown


@dataclass(frozen=True)
class ColumnEncoding:
    """How columns become features.

    Example:
        >>> columns = {"age": np.array([40, 50]), "site": np.array(["north", "south"])}
        >>> encoding = ColumnEncoding.of(columns)
        >>> encoding.encode({"age": np.array([30]), "site": np.array(["south"])})
        array([[30.,  0.,  1.]], dtype=float32)
    """

    names: tuple[str, ...]
    categories: tuple[tuple[str, ...] | None, ...]
    """The categories of each column, which occur among the training images; None for a column of numbers."""

    @classmethod
    def of(cls, columns: Mapping[str, np.ndarray]) -> Self:
        """Returns the encoding of columns.

        Args:
            columns: (n,) numbers, booleans or texts of the training images, by name.
        """
        return cls(tuple(columns), tuple(None if is_number(c) else _categories(c) for c in columns.values()))

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of features of each column."""
        return tuple(1 if known is None else len(known) for known in self.categories)

    @property
    def width(self) -> int:
        """The number of all features."""
        return sum(self.widths)

    def encode(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the features of images, (n, width) float32; a category that training lacks is 0 everywhere.

        Args:
            columns: (n,) values by name; further columns are ignored.

        Raises:
            DatasetError: values are missing, or a column of numbers holds something else.
            UnknownNameError: there is no such column.
        """
        parts = [self._encode(name, known, columns) for name, known in self._pairs()]
        return np.concatenate([np.empty((len(parts[0]), 0), np.float32), *parts], axis=1)

    def unknown(self, columns: Mapping[str, np.ndarray]) -> str | None:
        """Returns a line about categories that the training images lack; None if there are none."""
        lines = []
        for name, known in self._pairs():
            values = [] if known is None else np.asarray(columns[name]).astype(str).tolist()
            if strange := sorted(set(values) - set(known or ())):
                images = sum(value in strange for value in values)
                lines.append(
                    f"{counted(images, 'image has', 'images have')} a '{name}' that no training image has "
                    f"({enumerate_some(strange)}): it counts as none of the known ones"
                )
        return "; ".join(lines) or None

    def to_json(self) -> list[Any]:
        """Returns the encoding as JSON values."""
        return [[name, None if known is None else list(known)] for name, known in self._pairs()]

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Reads what `to_json` returned; raises ValueError, TypeError or KeyError for anything else."""
        names, categories = [], []
        for name, known in value:
            texts = [name, *([] if known is None else known)]
            if known == [] or not all(isinstance(text, str) for text in texts):
                message = "a column is no text, or has no categories"
                raise ValueError(message)
            names.append(name)
            categories.append(None if known is None else tuple(known))
        return cls(tuple(names), tuple(categories))

    def _pairs(self) -> Iterator[tuple[str, tuple[str, ...] | None]]:
        return zip(self.names, self.categories, strict=True)

    def _encode(self, name: str, known: Sequence[str] | None, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        if name not in columns:
            raise unknown_name("column", name, columns)
        values = np.asarray(columns[name])
        if missing := missing_values(values):
            message = f"column '{name}' has no value for {counted(len(missing), 'image')}: fill it in"
            raise DatasetError(message)
        if known is not None:
            return np.stack([values.astype(str) == category for category in known], axis=1).astype(np.float32)
        try:
            return values.astype(np.float32)[:, None]
        except ValueError as error:
            example = next(value for value in values.tolist() if not _is_float(value))
            message = f"column '{name}' holds {shown(example)}: expected numbers, as for the training images"
            raise DatasetError(message) from error


def is_number(column: np.ndarray) -> bool:
    """Returns whether a column holds numbers or booleans."""
    return column.dtype.kind in "biuf"


def missing_values(column: np.ndarray) -> list[int]:
    """Returns the positions of values that are missing or infinite: "", None, nan."""
    if is_number(column):
        return [int(place) for place in np.flatnonzero(~np.isfinite(column.astype(np.float64)))]
    return [place for place, value in enumerate(column.tolist()) if value is None or str(value).strip() in {"", "nan"}]


def _categories(column: np.ndarray) -> tuple[str, ...]:
    return tuple(sorted(set(column.astype(str).tolist())))


def _is_float(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
