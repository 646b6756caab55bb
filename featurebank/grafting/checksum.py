"""A checksum at the end of model files of formats that have none, so that damage is found before their programs run.

Files of Keras and of featurebank are ZIP archives, whose members have checksums. TensorFlow Lite, ONNX Runtime and
OpenVINO open a file with flipped bits, answer with other numbers, or end the process. Files without a checksum, as
older versions wrote them, are opened all the same; a checksum protects from accidents, not from attackers.
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
"""Protocol buffers may be written one after the other: one more entry of `ModelProto.metadata_props`."""
_XML = re.compile(rb"<!-- featurebank\.sha256 ([0-9a-f]{64}) -->\n\Z")


def seal_onnx(data: bytes) -> bytes:
    """Returns an ONNX file with its checksum as the last entry of its metadata."""
    return data + _ONNX_HEAD + _digest(data).encode()


def check_onnx_seal(data: bytes) -> None:
    """Raises ArchiveError where the checksum of an ONNX file is not that of its bytes."""
    start = len(data) - len(_ONNX_HEAD) - _HEX
    if start >= 0 and data[start:].startswith(_ONNX_HEAD):
        _compare(data[-_HEX:], _digest(data[:start]))


def seal_openvino(path: Path) -> None:
    """Adds a comment with the checksum of both files to the end of the .xml file."""
    data = path.read_bytes()
    digest = _digest(data, path.with_suffix(".bin").read_bytes())
    path.write_bytes(data + f"<!-- {_KEY} {digest} -->\n".encode())


def check_openvino_seal(path: Path) -> None:
    """Raises ArchiveError where the checksum of a pair of OpenVINO's files is not that of their bytes."""
    data = path.read_bytes()
    if found := _XML.search(data):
        _compare(found[1], _digest(data[: found.start()], path.with_suffix(".bin").read_bytes()))


def seal_tflite(path: Path) -> None:
    """Adds the checksum of what stands before the archive at the end of a TensorFlow Lite file to that archive."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(_KEY, _digest(path.read_bytes()[: _start(archive)]))


def check_tflite_seal(path: Path) -> None:
    """Raises ArchiveError where the checksum of a TensorFlow Lite file is not that of its bytes.

    The archive at its end must have been checked by `open_archive`.
    """
    with zipfile.ZipFile(path) as archive:
        if _KEY in archive.namelist():
            _compare(archive.read(_KEY), _digest(path.read_bytes()[: _start(archive)]))


def _start(archive: zipfile.ZipFile) -> int:
    return min(member.header_offset for member in archive.infolist())


def _digest(*parts: bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _compare(expected: bytes, found: str) -> None:
    if expected != found.encode():
        message = "its checksum is not that of its bytes: it was damaged, or changed after the export"
        raise ArchiveError(message)
