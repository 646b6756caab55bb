"""The lines of a text file that lists images: where a path ends and a label begins, and where the images lie."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from featurebank.dataset.fingerprint import reason
from featurebank.dataset.readers.text_encoding import decode_text
from featurebank.dataset.readers.walk import SUFFIXES
from featurebank.dataset.sources.remote import is_url
from featurebank.errors import DatasetError
from featurebank.system.files import read_regular
from featurebank.words import counted

_SEPARATOR = re.compile(r"[ \t,]+")
_SUFFIX = rf"\.(?:{'|'.join(sorted(SUFFIXES))})"
_PATH_END = re.compile(rf"{_SUFFIX}(?=[ \t,])", re.IGNORECASE)
_IS_PATH = re.compile(rf".*{_SUFFIX}", re.IGNORECASE)
_SAMPLE = 64


@dataclass(frozen=True)
class Line:
    """A line that is not empty.

    Args:
        number: counted from 1.
        text: without blanks at its ends.
    """

    number: int
    text: str


def read_lines(path: str) -> list[Line]:
    """Reads a text file.

    Raises:
        DatasetError: it is missing, unreadable, neither UTF-8 nor UTF-16, or empty.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        message = f"cannot read the list '{path}': {reason(error)}; expected a text file with a path a line"
        raise DatasetError(message) from error
    try:
        text = decode_text(data)
    except ValueError as error:
        message = f"list '{path}': {error}"
        raise DatasetError(message) from error
    lines = [Line(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    found = [line for line in lines if line.text]
    if not found:
        message = f"list '{path}' is empty: expected a path a line"
        raise DatasetError(message)
    return found


def split_line(text: str, root: str) -> tuple[str, str | None]:
    """Splits "path" or "path label": the label is what follows the path after blanks, a tab or a comma.

    Paths may contain blanks and commas: a line that as a whole looks like the path of an image and is an existing file
    is a path, and so is one that looks like it and could not be split. Otherwise the path ends with the suffix of an
    image, or, where there is no such suffix, at the first separator; of several ways that whose file exists.

    Args:
        text: the line, without blanks at its ends.
        root: where relative paths start.

    Returns:
        The path, and the label or None.
    """
    if not _SEPARATOR.search(text):
        return text, None
    ends = [match.end() for match in _PATH_END.finditer(text)]
    if (not ends or _IS_PATH.fullmatch(text)) and exists(root, text):
        return text, None
    if not ends:
        if _IS_PATH.fullmatch(text):
            return text, None
        ends = [match.start() for match in _SEPARATOR.finditer(text)]
    end = ends[0] if len(ends) == 1 else next((e for e in reversed(ends) if exists(root, text[:e])), ends[0])
    return text[:end], text[end:].strip(" \t,")


def exists(root: str, path: str) -> bool:
    """Says whether there is such a file (of a URL nothing is known, and the answer is yes)."""
    return is_url(path) or os.path.isfile(os.path.join(root, path))  # noqa: PTH113, PTH118 - strings, for a million lines


def find_root(source: str, lines: Sequence[Line], places: Sequence[str]) -> str:
    """Finds the folder that the paths of a list start from: the one in which most of a sample of them are.

    Args:
        source: the list.
        lines: of it.
        places: the folders to look in, the likeliest first.

    Raises:
        DatasetError: none of the sample is in any of them.
    """
    sample = [line.text for line in lines[:: max(1, len(lines) // _SAMPLE)]]
    hits = [sum(exists(place, split_line(text, place)[0]) for text in sample) for place in places]
    best = max(hits)
    if best == 0:
        folders = " and ".join(f"'{place}'" for place in places)
        message = (
            f"none of {counted(len(sample), 'image')} that '{source}' lists is there, the first is '{sample[0]}': "
            f"looked in {folders}; put the images or the list where the paths are right"
        )
        raise DatasetError(message)
    return places[hits.index(best)]
