"""Parses text files that list images: splits lines into paths and labels, and finds the images' folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from featurebank.dataset.fingerprint import reason
from featurebank.dataset.readers.text_encoding import decode_text
from featurebank.dataset.readers.walk import SUFFIXES
from featurebank.dataset.remote.fetching import is_url
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
    """A non-empty line.

    Args:
        number: line number, from 1.
        text: the line without blanks at its ends.
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
        message = f"cannot read the list '{path}': {reason(error)}; expected a text file with one path per line"
        raise DatasetError(message) from error
    try:
        text = decode_text(data)
    except ValueError as error:
        message = f"list '{path}': {error}"
        raise DatasetError(message) from error
    lines = [Line(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    filled = [line for line in lines if line.text]
    if not filled:
        message = f"list '{path}' is empty: expected one path per line"
        raise DatasetError(message)
    return filled


def split_line(text: str, root: str) -> tuple[str, str | None]:
    """Splits "path" or "path label"; the label follows the path after blanks, a tab or a comma.

    Paths may contain blanks and commas. So a line that looks like one image path is a path if that file exists, or if
    the line could not be split. Otherwise the path ends with an image suffix or, without such a suffix, at the first
    separator; among several ways, the one whose file exists is chosen.

    Args:
        text: the line, without blanks at its ends.
        root: folder of relative paths.

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
    """Returns whether a file exists; URLs are not checked, and count as existing."""
    return is_url(path) or os.path.isfile(os.path.join(root, path))  # noqa: PTH113, PTH118 - strings, for a million lines


def find_root(source: str, lines: Sequence[Line], places: Sequence[str]) -> str:
    """Finds the root of a list's paths: the folder that contains most of a sample of them.

    Args:
        source: path of the list.
        lines: lines of the list.
        places: the folders to search, the likeliest first.

    Raises:
        DatasetError: no sampled image is in any of them.
    """
    sample = [line.text for line in lines[:: max(1, len(lines) // _SAMPLE)]]
    hits = [sum(exists(place, split_line(text, place)[0]) for text in sample) for place in places]
    best = max(hits)
    if best == 0:
        folders = " and ".join(f"'{place}'" for place in places)
        message = (
            f"none of {counted(len(sample), 'image')} listed in '{source}' exists, the first is '{sample[0]}': "
            f"searched {folders}; move the images or the list so that the paths are right"
        )
        raise DatasetError(message)
    return places[hits.index(best)]
