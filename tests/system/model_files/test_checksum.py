"""Checksums of model files whose own programs see no damage; files without one are opened as before."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import pytest

from featurebank.errors import ArchiveError
from featurebank.system.model_files.checksum import (
    check_onnx_seal,
    check_openvino_seal,
    check_tflite_seal,
    seal_onnx,
    seal_openvino,
    seal_tflite,
)


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_onnx() -> None:
    plain = onnx.ModelProto(producer_name="somebody", metadata_props=[{"key": "a", "value": "b"}]).SerializeToString()
    sealed = seal_onnx(plain)
    found = onnx.load_model_from_string(sealed)
    assert [entry.key for entry in found.metadata_props] == ["a", "featurebank.sha256"]
    for sound in (plain, sealed, b"", b"short"):
        check_onnx_seal(sound)
    for place in (*range(len(plain)), len(sealed) - 1):
        with pytest.raises(ArchiveError, match="its checksum does not match its bytes"):
            check_onnx_seal(flipped(sealed, place))


def test_openvino(tmp_path: Path) -> None:
    path, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    path.write_bytes(b"<net/>\n")
    weights.write_bytes(b"weights")
    check_openvino_seal(path)
    seal_openvino(path)
    check_openvino_seal(path)
    for file in (path, weights):
        data = file.read_bytes()
        file.write_bytes(flipped(data, 3))
        with pytest.raises(ArchiveError, match="checksum"):
            check_openvino_seal(path)
        file.write_bytes(data)


def test_tflite(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"model" * 10)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("featurebank.json", "text")
    check_tflite_seal(path)
    seal_tflite(path)
    check_tflite_seal(path)
    assert path.read_bytes().startswith(b"model" * 10)
    path.write_bytes(flipped(path.read_bytes(), 7))
    with pytest.raises(ArchiveError, match="checksum"):
        check_tflite_seal(path)
