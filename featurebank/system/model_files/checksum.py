"""A checksum at the end of model files in formats without checksums, to detect damage before other libraries open them.

Files of Keras and of featurebank are ZIP archives, whose members have checksums. TensorFlow Lite, ONNX Runtime and
OpenVINO open files with flipped bits and return other numbers, or crash. Files of older versions have no checksum and
still open. A checksum protects against accidents, not against attackers.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
from pathlib import Path

from featurebank.errors import ArchiveError

_KEY = "featurebank.sha256"
_HEX = 64
_ONNX_HEAD = bytes([0x72, 2 + len(_KEY) + 2 + _HEX, 0x0A, len(_KEY)]) + _KEY.encode() + bytes([0x12, _HEX])
"""One more entry of `ModelProto.metadata_props`: protocol buffers may be concatenated."""
_XML = re.compile(rb"<!-- featurebank\.sha256 ([0-9a-f]{64}) -->\n\Z")


def seal_onnx(data: bytes) -> bytes:
    """Returns an ONNX file with its checksum as the last entry of its metadata."""
    return data + _ONNX_HEAD + _digest(data).encode()


def check_onnx_seal(data: bytes | memoryview) -> None:
    """Raises ArchiveError if an ONNX file has a checksum that does not match its bytes."""
    start = len(data) - len(_ONNX_HEAD) - _HEX
    if start >= 0 and bytes(data[start:]).startswith(_ONNX_HEAD):
        _compare(bytes(data[-_HEX:]), _digest(data[:start]))


def seal_openvino(path: Path) -> None:
    """Appends a comment with the checksum of both files to the .xml file."""
    data = path.read_bytes()
    digest = _digest(data, path.with_suffix(".bin").read_bytes())
    path.write_bytes(data + f"<!-- {_KEY} {digest} -->\n".encode())


def check_openvino_seal(path: Path) -> None:
    """Raises ArchiveError if a pair of OpenVINO files has a checksum that does not match their bytes."""
    data = path.read_bytes()
    if match := _XML.search(data):
        _compare(match[1], _digest(data[: match.start()], path.with_suffix(".bin").read_bytes()))


def seal_tflite(path: Path) -> None:
    """Adds a checksum to the archive at the end of a TensorFlow Lite file; it covers the bytes before the archive."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_KEY, _digest(path.read_bytes()[: _start(archive)]))


def check_tflite_seal(path: Path) -> None:
    """Raises ArchiveError if a TensorFlow Lite file has a checksum that does not match its bytes.

    Check the archive at its end with `open_archive` first.
    """
    with zipfile.ZipFile(path) as archive:
        if _KEY in archive.namelist():
            _compare(archive.read(_KEY), _digest(path.read_bytes()[: _start(archive)]))


def _start(archive: zipfile.ZipFile) -> int:
    return min(member.header_offset for member in archive.infolist())


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _compare(expected: bytes, actual: str) -> None:
    if expected != actual.encode():
        message = "its checksum does not match its bytes: it was damaged, or changed after the export"
        raise ArchiveError(message)
