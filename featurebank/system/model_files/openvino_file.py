"""What a model file of OpenVINO (.xml) refers to, read before OpenVINO opens it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from featurebank.errors import ArchiveError
from featurebank.system.files import read_regular

_MOST_DEPTH = 200
_MOST_BYTES = 1 << 30


def check_openvino(path: Path) -> list[Path]:
    """Checks a model file of OpenVINO, and that the file with its weights is whole.

    Args:
        path: the .xml file.

    Returns:
        The .bin file beside it; empty if the model needs none.

    Raises:
        ArchiveError: it is damaged, declares entities, or its weights are missing or too short; the message is only the
            reason.
        OSError: a file cannot be read.
    """
    end, weights = _scan(read_regular(path, _MOST_BYTES)), path.with_suffix(".bin")
    if not end and not weights.exists():
        return []
    if not weights.exists():
        message = f"its weights '{weights.name}' are missing: copy them beside it"
        raise ArchiveError(message)
    if not weights.is_file():
        message = f"its weights '{weights.name}' are not a regular file"
        raise ArchiveError(message)
    size = weights.stat().st_size
    if size < end:
        message = f"its weights '{weights.name}' have {size:,} bytes, expected {end:,}: copy them again"
        raise ArchiveError(message)
    return [weights]


def _scan(data: bytes) -> int:
    """Returns the first byte after all weights to which a model refers."""
    parser, depth, end, root = expat.ParserCreate(), 0, 0, ""

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, end, root
        depth, root = depth + 1, root or name
        if depth > _MOST_DEPTH:
            raise _damaged("it is nested too deeply")
        if name == "data" and "offset" in attributes:
            try:
                offset, size = int(attributes["offset"]), int(attributes.get("size", 0))
            except ValueError:
                offset = size = -1
            if min(offset, size) < 0:
                raise _damaged("a place of weights that is not a number")
            end = max(end, offset + size)

    def stop(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartElementHandler, parser.EndElementHandler = start, stop
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(data, True)  # noqa: FBT003 - the parser takes no keyword
    except expat.ExpatError as error:
        raise _damaged(str(error)) from error
    if root != "net":
        reason = f"its root is '{root[:50]}', expected 'net'"
        raise _damaged(reason)
    return end


def _refuse_doctype(*_: object) -> NoReturn:
    message = "it declares a document type, which models of OpenVINO do not have: export the model again"
    raise ArchiveError(message)


def _damaged(reason: str) -> ArchiveError:
    return ArchiveError(f"it is damaged or not a model of OpenVINO: {reason}")
