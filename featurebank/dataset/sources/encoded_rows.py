"""Datasets of other libraries: rows that hold the bytes of an image file and a label, in splits with names."""

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
from featurebank.dataset.sources.arrays import encode
from featurebank.dataset.sources.layout import split_code
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
"""What an id and a label take in memory."""


@dataclass(frozen=True)
class EncodedSplit:
    """The rows of one split.

    Args:
        name: of the split, as the library has it; "" where there is but one.
        code: the split's code; None where no split is given.
        labels: a name or a whole number a row; None where a row has no label.
        read: from a row to the bytes of its image file; raises OSError. It can be pickled.
    """

    name: str
    code: int | None
    labels: Sequence[Any]
    read: Callable[[int], bytes]


class Encoded(ImageBytes):
    """Images that are bytes in rows.

    Args:
        readers: of the parts.
        parts: (n,) which part an image is in.
        rows: (n,) its row there.
    """

    in_threads = True

    def __init__(self, readers: Sequence[Callable[[int], bytes]], parts: np.ndarray, rows: np.ndarray) -> None:
        self._readers = tuple(readers)
        self._parts = parts
        self._rows = rows
        self.depths = Depths()

    def digest(self, index: int) -> str:
        """Returns the digest of an image's bytes; raises OSError where it cannot be read."""
        return digest.of_bytes(self._bytes(index))

    def _bytes(self, index: int) -> bytes:
        read = self._readers[int(self._parts[index])]
        data = read(int(self._rows[index]))
        if len(data) > MOST_BYTES:
            message = f"an image of {len(data)} bytes, more than {MOST_BYTES >> 20} MiB"
            raise OSError(message)
        return data


def contents(spec: str, parts: Sequence[EncodedSplit], names: Sequence[str] | None, notes: Sequence[str]) -> Contents:
    """Joins the splits into columns. Rows without a label are left out, with a note.

    Args:
        spec: the canonical text that loads it again.
        parts: the splits.
        names: what the labels 0, 1, ... are called; None if the labels are names, or numbers without names.
        notes: what the user should know.

    Raises:
        DatasetError: no row has a label, or a label has no name.
    """
    unlabelled = 0
    ids, labels, which, rows, codes = list[str](), list[Any](), list[int](), list[int](), list[int]()
    for number, part in enumerate(parts):
        prefix = f"{part.name}/" if part.name else ""
        kept = [row for row, label in enumerate(part.labels) if label is not None and (not names or label != -1)]
        unlabelled += len(part.labels) - len(kept)
        ids += [f"{prefix}{row}" for row in kept]
        labels += [part.labels[row] for row in kept]
        which += [number] * len(kept)
        rows += kept
        codes += [TRAIN if part.code is None else part.code] * len(kept)
    if not ids:
        message = f"'{spec}' has no row with an image and a label: expected at least one of each of two classes"
        raise DatasetError(message)
    classes, numbers = encode(spec, np.array(labels), names)
    pixels = Encoded([part.read for part in parts], np.array(which), np.array(rows))
    given = None if all(part.code is None for part in parts) else np.array(codes, np.int8)
    left_out = [f"{counted(unlabelled, 'row')} without a label: left out"] if unlabelled else []
    name = path_name(spec.partition(":")[2], spec)
    return Contents(name, spec, classes, tuple(ids), numbers, pixels, given, (*notes, *left_out))


def check_rows(spec: str, rows: int) -> None:
    """Raises DatasetError where the labels of so many rows would not fit into `--ram`."""
    if rows * _ROW_BYTES > ram_limit():
        message = (
            f"'{spec}' says that it has {counted(rows, 'row')}, whose labels take {rows * _ROW_BYTES / 1e6:.0f} MB, "
            "the limit is "
            f"{ram_limit() / 1e6:.0f} MB: give a larger --ram if it is what it should be"
        )
        raise DatasetError(message)


def choose_splits(spec: str, names: Sequence[str]) -> tuple[list[tuple[str, int | None]], list[str]]:
    """Decides which splits of a dataset are used as what.

    Returns:
        The names with their codes (None where there is but one), and a note about those that are left out.

    Raises:
        DatasetError: there are several, and none is called train.
    """
    if len(names) == 1:
        return [(names[0], None)], []
    known = [(name, code) for name in names if (code := split_code(name)) is not None]
    if TRAIN not in [code for _, code in known]:
        message = f"'{spec}' has the splits {', '.join(names) or '(none)'}: expected train, and validation or test"
        raise DatasetError(message)
    others = [name for name in names if split_code(name) is None]
    notes = [f"split {', '.join(others)} is neither train, validation nor test: left out"] if others else []
    return [(name, code if len(known) > 1 else None) for name, code in known], notes


def choose_column(spec: str, what: str, marked: Sequence[str], named: Sequence[str], columns: Sequence[str]) -> str:
    """Finds the column of images or of labels.

    Args:
        spec: the dataset, for messages.
        what: "image" or "label".
        marked: the columns whose type says that they are.
        named: the names to look for, where none is marked or several are.
        columns: all columns that could be.

    Raises:
        DatasetError: there is none, or it is not clear which.
    """
    if len(marked) == 1:
        return marked[0]
    found = next((name for name in named if name in (marked or columns)), None)
    if found is None:
        problem = (
            f"{counted(len(marked), 'column')} of {what}s, {', '.join(marked)}" if marked else f"no column of {what}s"
        )
        message = f"'{spec}' has {problem}: expected one, or one called {' or '.join(named[:2])}"
        raise DatasetError(message)
    return found


@contextlib.contextmanager
def foreign(spec: str, package: str) -> Iterator[None]:
    """Turns whatever another library raises into one line, and what it prints into words on the error stream.

    Raises:
        DatasetError: anything was raised that is no error of ours.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output belongs to --json
            yield
    except FeatureBankError:
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:_DETAIL] or type(error).__name__
        message = f"the package {package} could not load '{spec}': {detail}; check the name (and the network)"
        raise DatasetError(message) from error
