"""Decodes text files of other programs: UTF-8 and UTF-16, with or without a byte order mark."""

from __future__ import annotations

import codecs

_SAMPLE = 400
_MANY = 0.25


def decode_text(data: bytes) -> str:
    """Decodes the text of a file.

    Args:
        data: UTF-8, or UTF-16 as spreadsheets and Windows programs write it.

    Raises:
        ValueError: it is neither; the message names the line, and says what to do.

    Example:
        >>> decode_text("path;label".encode("utf-16"))
        'path;label'
    """
    encoding = _encoding(data)
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        number = data[: error.start].decode(encoding, "replace").count("\n") + 1
        message = f"line {number} is not {encoding.upper()}: save the file as UTF-8"
        raise ValueError(message) from error


def _encoding(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = data[:_SAMPLE:2], data[1:_SAMPLE:2]
    if odd.count(0) > _MANY * len(odd):  # most letters are below 256, so that their other byte is zero
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > _MANY * len(even) else "utf-8"
