"""Files with a checksum over all their bytes: JSON objects, and ZIP archives as NumPy writes them."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from featurebank.system import digest
from featurebank.system.files import json_bytes, open_regular, read_regular, write_json

SEAL = "checksum"
_DIGITS = 2 * digest.DIGEST_BYTES
_BLOCK = 1 << 20
_END, _END_BYTES = b"PK\5\6", 22
"""Signature and length of the last record of a ZIP archive without a comment."""


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with its checksum, atomically."""
    write_json(path, sealed(value))


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON object with its checksum, as `write_sealed` writes it."""
    return {**value, SEAL: digest.of_recipe(value)}


def read_sealed(path: Path, *, strict: bool = False) -> dict[str, Any]:
    """Reads and verifies a file of `write_sealed`.

    Args:
        path: the file.
        strict: also refuse a file that holds the same value in other bytes.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not what `write_sealed` wrote.
    """
    return parse_sealed(read_regular(path), strict=strict)


def parse_sealed(data: bytes, *, strict: bool = False) -> dict[str, Any]:
    """Verifies the bytes of a file of `write_sealed`; see `read_sealed`."""
    try:
        value = json.loads(data.decode())
        if not isinstance(value, dict) or (strict and data != json_bytes(value)):
            message = "its bytes are not those that were written"
            raise ValueError(message)
        if value.pop(SEAL, None) != digest.of_recipe(value):
            message = "its checksum does not match"
            raise ValueError(message)
    except RecursionError as error:
        message = "it is nested too deeply"
        raise ValueError(message) from error
    return value


def seal_archive(path: Path) -> None:
    """Adds the digest of all preceding bytes to a ZIP archive, as its comment."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"0" * _DIGITS
    with path.open("r+b") as file:
        checksum = _digest(file, file.seek(0, os.SEEK_END) - _DIGITS)
        file.seek(-_DIGITS, os.SEEK_END)
        file.write(checksum)


def is_whole_archive(path: Path) -> bool | None:
    """Compares every byte of an archive with its checksum.

    Returns:
        True if the archive is as `seal_archive` left it; None if it has no checksum, as in files of featurebank 0.1.

    Raises:
        OSError: the file cannot be read.
    """
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size >= _END_BYTES:
            file.seek(-_END_BYTES, os.SEEK_END)
            end = file.read()
            if end.startswith(_END) and end.endswith(b"\0\0"):  # the comment is empty
                return None
        checksum = _digest(file, max(0, size - _DIGITS))
        return checksum == file.read()


def _digest(file: BinaryIO, size: int) -> bytes:
    """Returns the digest of the first `size` bytes of a file, and leaves the file position behind them."""
    file.seek(0)
    places = range(0, size, _BLOCK)
    return digest.of_pieces(file.read(min(_BLOCK, size - place)) for place in places).encode()
