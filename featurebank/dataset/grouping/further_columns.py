"""Columns of a dataset that are read only when they are asked for, as those of Hugging Face or of a .npz file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.dataset.readers.metadata import strings


@dataclass(frozen=True)
class FurtherColumns:
    """The further columns of the parts of a dataset.

    Args:
        names: the names of the columns.
        readers: a reader for each part: returns a column of its rows, None for a missing value.
        parts: (n,) the part of each image.
        rows: (n,) the row of each image in its part.
    """

    names: tuple[str, ...]
    readers: Sequence[Callable[[str], Sequence[Any]]]
    parts: np.ndarray
    rows: np.ndarray

    def read(self, name: str) -> np.ndarray | None:
        """Returns a column as texts, (n,), "" for a missing value; None if there is no such column."""
        if name not in self.names:
            return None
        columns = [read(name) for read in self.readers]
        places = zip(self.parts.tolist(), self.rows.tolist(), strict=True)
        values = (columns[part][row] for part, row in places)
        return strings(["" if value is None or value != value else str(value) for value in values])  # noqa: PLR0124 - nan

    def select(self, positions: np.ndarray) -> FurtherColumns:
        """Returns the columns of some images."""
        return FurtherColumns(self.names, self.readers, self.parts[positions], self.rows[positions])


@dataclass(frozen=True)
class ArrayReader:
    """Reads columns of one part of a .npz file.

    Args:
        members: the arrays by name.
        suffix: what follows the name of a column in the names of this part's arrays, as "_train".
    """

    members: Mapping[str, np.ndarray]
    suffix: str = ""

    def __call__(self, name: str) -> Sequence[Any]:
        """Returns a column."""
        values = self.members[name + self.suffix]
        texts = np.char.decode(values, "utf-8", "backslashreplace") if values.dtype.kind == "S" else values
        column: list[Any] = texts.tolist()
        return column
