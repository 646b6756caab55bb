"""Datasets of other libraries: rows with the bytes of an image file and a label, in named splits."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents, path_name
from featurebank.dataset.decoding.image_bytes import ImageBytes
from featurebank.dataset.decoding.levels import Depths
from featurebank.dataset.grouping.further_columns import FurtherColumns
from featurebank.dataset.readers.layout import split_code
from featurebank.dataset.sources.arrays import encode
from featurebank.dataset.splits import TRAIN
from featurebank.errors import DatasetError, FeatureBankError
from featurebank.system import digest
from featurebank.system.files import MOST_BYTES
from featurebank.system.runtime import ram_limit
from featurebank.words import counted

IMAGE_NAMES = ("image", "img", "photo", "picture")
LABEL_NAMES = ("label", "labels", "class", "target", "fine_label")

_DETAIL = 240
_ROW_BYTES = 100
"""Memory of an id and a label."""


@dataclass(frozen=True)
class EncodedSplit:
    """The rows of one split.

    Args:
        name: the library's name of the split; "" if there is only one.
        code: the split's code; None if no split is given.
        labels: a name or a whole number per row; None for a row without a label.
        read: returns the bytes of a row's image file; raises OSError. It can be pickled.
        column: returns a further column, a value per row; None if there are none.
    """

    name: str
    code: int | None
    labels: Sequence[Any]
    read: Callable[[int], bytes]
    column: Callable[[str], Sequence[Any]] | None = None


class Encoded(ImageBytes):
    """Images that are bytes in rows.

    Args:
        readers: the readers of the parts.
        parts: (n,) the part of each image.
        rows: (n,) the row of each image in its part.
        spec: the specification that loads them again, in the same order.
    """

    in_threads = True

    def __init__(
        self, readers: Sequence[Callable[[int], bytes]], parts: np.ndarray, rows: np.ndarray, spec: str
    ) -> None:
        self.spec = spec
        self._readers = tuple(readers)
        self._parts = parts
        self._rows = rows
        self.depths = Depths()

    def digest(self, index: int) -> str:
        """Returns the digest of an image's bytes; raises OSError if they cannot be read."""
        return digest.of_bytes(self._bytes(index))

    def _bytes(self, index: int, expected: bytes | None = None) -> bytes:
        read = self._readers[int(self._parts[index])]
        data = read(int(self._rows[index]))
        if len(data) > MOST_BYTES:
            message = f"an image of {len(data)} bytes, more than {MOST_BYTES >> 20} MiB"
            raise OSError(message)
        return data


def contents(
    spec: str, parts: Sequence[EncodedSplit], names: Sequence[str] | None, notes: Sequence[str],
    columns: Sequence[str] = (),
) -> Contents:  # fmt: skip
    """Joins the splits into columns. Rows without a label are omitted, with a note.

    Args:
        spec: the canonical specification that loads it again.
        parts: the splits.
        names: names of the labels 0, 1, ...; None if the labels are names, or numbers without names.
        notes: notes for the user.
        columns: the names of further columns, which every part has.

    Raises:
        DatasetError: no row has a label, or a label has no name.
    """
    unlabelled = 0
    ids, labels, which, rows, codes = list[str](), list[Any](), list[int](), list[int](), list[int]()
    for number, part in enumerate(parts):
        prefix = f"{part.name}/" if part.name else ""
        labelled = [row for row, label in enumerate(part.labels) if label is not None and (not names or label != -1)]
        unlabelled += len(part.labels) - len(labelled)
        ids += [f"{prefix}{row}" for row in labelled]
        labels += [part.labels[row] for row in labelled]
        which += [number] * len(labelled)
        rows += labelled
        codes += [TRAIN if part.code is None else part.code] * len(labelled)
    if not ids:
        message = f"'{spec}' has no row with an image and a label: expected at least one of each of two classes"
        raise DatasetError(message)
    classes, numbers = encode(spec, np.array(labels), names)
    pixels = Encoded([part.read for part in parts], np.array(which), np.array(rows), spec)
    readers = [part.column for part in parts if part.column is not None]
    further = FurtherColumns(tuple(columns), readers, np.array(which), np.array(rows)) if columns else None
    split_codes = None if all(part.code is None for part in parts) else np.array(codes, np.int8)
    left_out = [f"{counted(unlabelled, 'row')} without a label: omitted"] if unlabelled else []
    name = path_name(spec.partition(":")[2], spec)
    return Contents(
        name, spec, classes, tuple(ids), numbers, pixels, split_codes, (*notes, *left_out), further=further
    )  # fmt: skip


def check_rows(spec: str, rows: int) -> None:
    """Raises DatasetError if the labels of this many rows would not fit into `--ram`."""
    if rows * _ROW_BYTES > ram_limit():
        message = (
            f"'{spec}' claims to have {counted(rows, 'row')}, whose labels need {rows * _ROW_BYTES / 1e6:.0f} MB, "
            "the limit is "
            f"{ram_limit() / 1e6:.0f} MB: use a larger --ram if the dataset is as intended"
        )
        raise DatasetError(message)


def choose_splits(spec: str, names: Sequence[str]) -> tuple[list[tuple[str, int | None]], list[str]]:
    """Decides how the splits of a dataset are used.

    Returns:
        The names with their codes (None if there is only one), and a note about the omitted ones.

    Raises:
        DatasetError: there are several, and none of them means train.
    """
    if len(names) == 1:
        return [(names[0], None)], []
    known = [(name, code) for name in names if (code := split_code(name)) is not None]
    if TRAIN not in [code for _, code in known]:
        message = f"'{spec}' has the splits {', '.join(names) or '(none)'}: expected train, and validation or test"
        raise DatasetError(message)
    others = [name for name in names if split_code(name) is None]
    notes = [f"split {', '.join(others)} is neither train, validation nor test: omitted"] if others else []
    return [(name, code if len(known) > 1 else None) for name, code in known], notes


def choose_column(spec: str, what: str, marked: Sequence[str], named: Sequence[str], columns: Sequence[str]) -> str:
    """Chooses the column of images or of labels.

    Args:
        spec: the dataset, for messages.
        what: "image" or "label".
        marked: the columns of a type that is only used for this.
        named: the names to search for, if none or several are marked.
        columns: all possible columns.

    Raises:
        DatasetError: there is no such column, or several are possible.
    """
    if len(marked) == 1:
        return marked[0]
    column = next((name for name in named if name in (marked or columns)), None)
    if column is None:
        problem = (
            f"{counted(len(marked), 'column')} of {what}s, {', '.join(marked)}" if marked else f"no column of {what}s"
        )
        message = f"'{spec}' has {problem}: expected one, or one called {' or '.join(named[:2])}"
        raise DatasetError(message)
    return column


@contextlib.contextmanager
def foreign(spec: str, package: str) -> Iterator[None]:
    """Turns an exception of another library into one line, and redirects its output to standard error.

    Raises:
        DatasetError: the library raised an exception that is not ours.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is reserved for --json
            yield
    except FeatureBankError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:_DETAIL] or type(error).__name__
        message = f"the package {package} could not load '{spec}': {detail}; check the name (and the network)"
        raise DatasetError(message) from error
