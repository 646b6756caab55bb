"""What an ONNX file refers to: other files, operators, and its metadata; read without the package `onnx`.

Only the structure is read, never the tensors, so that a file of gigabytes takes no memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from featurebank.errors import ArchiveError

_NUMBER, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
"""The wire types of protocol buffers that ONNX uses."""
_EXTERNAL = 1
"""`TensorProto.EXTERNAL`: the values are in another file."""
_MOST_DEPTH = 60
_MOST_FIELDS = 20_000_000
_VARINT_BITS = 70

_MESSAGES = {
    "model": {7: "graph", 14: "metadata", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "metadata": {},
}
"""The messages inside each message, by the number of the field."""
_DOMAIN = {"node": 7, "function": 10}
_LOCATION_FIELD, _DATA_FIELD = 14, 13


@dataclass(frozen=True)
class ExternalData:
    """Weights of a model in another file.

    Args:
        location: the path of the file, as the model has it.
        end: the first byte after the weights, as far as the model says it.
    """

    location: str
    end: int


@dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file refers to."""

    metadata: dict[str, str] = field(default_factory=dict)
    external: list[ExternalData] = field(default_factory=list)
    domains: set[str] = field(default_factory=set)
    """The domains of its operators."""


def scan_onnx(data: bytes | memoryview) -> OnnxFile:
    """Reads what an ONNX file refers to.

    Args:
        data: the content of the file.

    Raises:
        ArchiveError: it is damaged or not ONNX; the message is only the reason.
    """
    result, has_graph, count = OnnxFile(), False, 0
    left: list[tuple[str, memoryview, int]] = [("model", memoryview(data), 0)]
    while left:
        kind, view, depth = left.pop()
        values: list[tuple[int, Any]] = []
        for number, value in _fields(view):
            count += 1
            if count > _MOST_FIELDS or depth > _MOST_DEPTH:
                raise _damaged("too many parts")
            inner = _MESSAGES[kind].get(number)
            if inner is None:
                values.append((number, value))
            elif isinstance(value, memoryview):
                has_graph |= inner == "graph"
                left.append((inner, value, depth + 1))
            else:
                raise _damaged("a number in the place of a part")
        _add(result, kind, values)
    if not has_graph:
        raise _damaged("it has no graph")
    return result


def check_external(path: Path, file: OnnxFile) -> list[Path]:
    """Checks the files in which a model keeps its weights: they must lie beside it.

    Args:
        path: the model's file.
        file: what it refers to.

    Returns:
        Their paths, sorted.

    Raises:
        ArchiveError: one is missing or too short, is a link or no regular file, or its path leads elsewhere; the
            message is only the reason.
    """
    ends: dict[str, int] = {}
    for one in file.external:
        ends[one.location] = max(one.end, ends.get(one.location, 0))
    return [_checked(path.parent, location, end) for location, end in sorted(ends.items())]


def _checked(directory: Path, location: str, end: int) -> Path:
    shown, parts = location[:100], PurePosixPath(location.replace("\\", "/"))
    if not location or parts.is_absolute() or Path(location).drive or ".." in parts.parts or "\0" in location:
        message = f"its weights are in '{shown}', and only a file beside the model is read"
        raise ArchiveError(message)
    path = directory
    for part in parts.parts:
        path /= part
        if path.is_symlink():
            message = f"its weights are in '{shown}', which is a link: copy the file itself beside the model"
            raise ArchiveError(message)
    if not os.path.lexists(path):
        message = f"its weights are in '{shown}', which is missing: copy it beside the model"
        raise ArchiveError(message)
    if not path.is_file():
        message = f"its weights are in '{shown}', which is not a regular file"
        raise ArchiveError(message)
    if path.stat().st_size < end:
        message = (
            f"its weights are in '{shown}', which has {path.stat().st_size:,} bytes, expected {end:,}: copy it again"
        )
        raise ArchiveError(message)
    return path


def _add(result: OnnxFile, kind: str, values: list[tuple[int, Any]]) -> None:
    """Adds what the plain fields of a message say."""
    if kind == "metadata":
        key, value = _entry(values)
        result.metadata[key] = value
    elif kind in _DOMAIN:
        result.domains.add(next((_text(value) for number, value in values if number == _DOMAIN[kind]), ""))
    elif kind == "tensor":
        entries = dict(_entry(list(_fields(value))) for number, value in values if number == _DATA_FIELD)
        if entries or any(pair == (_LOCATION_FIELD, _EXTERNAL) for pair in values):
            result.external.append(_external(entries))


def _external(entries: dict[str, str]) -> ExternalData:
    try:
        start, length = int(entries.get("offset") or 0), int(entries.get("length") or 0)
    except ValueError:
        start = length = -1
    if start < 0 or length < 0:
        reason = "a place in another file that is not a number"
        raise _damaged(reason)
    return ExternalData(entries.get("location", ""), start + length)


def _entry(values: list[tuple[int, Any]]) -> tuple[str, str]:
    """Returns the key and the value of an entry."""
    parts = dict(values)
    return _text(parts.get(1, b"")), _text(parts.get(2, b""))


def _text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except (UnicodeDecodeError, TypeError, ValueError) as error:
        raise _damaged("a text that is not UTF-8") from error


def _fields(view: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields the fields of a message: the number of each, and a number or a part of the view."""
    place = 0
    while place < len(view):
        tag, place = _varint(view, place)
        number, wire = tag >> 3, tag & 7
        if wire == _NUMBER:
            value, place = _varint(view, place)
            yield number, value
            continue
        if wire == _BYTES:
            length, place = _varint(view, place)
        elif wire in {_EIGHT_BYTES, _FOUR_BYTES}:
            length = 8 if wire == _EIGHT_BYTES else 4
        else:
            reason = f"a field of kind {wire}"
            raise _damaged(reason)
        if number == 0 or place + length > len(view):
            raise _damaged("it is cut off" if number else "a field without a number")
        yield number, view[place : place + length]
        place += length


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    """Reads a number; returns it and the place after it."""
    value = shift = 0
    while place < len(view) and shift < _VARINT_BITS:
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
            return value, place
        shift += 7
    raise _damaged("it is cut off")


def _damaged(reason: str) -> ArchiveError:
    return ArchiveError(f"it is damaged or not a model of ONNX: {reason}")
