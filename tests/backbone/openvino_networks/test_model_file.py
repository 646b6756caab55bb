"""A model file is checked, identified by its content, and read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest

from featurebank.backbone.openvino_networks.model_file import check_model_file
from featurebank.errors import WeightsError
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.model_files.checksum import seal_onnx
from tests.support.onnx_networks import cnn


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return cnn().save(tmp_path / "net.onnx", "head")


def with_external_data(path: Path) -> Path:
    """Moves the weights of a model into a file beside it."""
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="net.data", size_threshold=100)
    return path.parent / "net.data"


def as_xml(path: Path) -> Path:
    openvino = import_openvino()
    made = path.with_suffix(".xml")
    openvino.save_model(openvino.Core().read_model(path), made, compress_to_fp16=False)
    return made


def test_the_digest_is_that_of_the_content(file: Path, tmp_path: Path) -> None:
    first = check_model_file(file)
    assert first.files == (file,)
    copy = tmp_path / "sub" / "other.onnx"
    copy.parent.mkdir()
    copy.write_bytes(file.read_bytes())
    assert check_model_file(copy).digest == first.digest
    copy.write_bytes(file.read_bytes() + b"\x12\x01a")  # another producer
    assert check_model_file(copy).digest != first.digest


def test_weights_in_another_file_belong_to_it(file: Path) -> None:
    weights = with_external_data(file)
    first = check_model_file(file)
    assert first.files == (file, weights)
    assert len(first.read().get_ordered_ops()) > 5
    data = bytearray(weights.read_bytes())
    data[0] ^= 1
    weights.write_bytes(data)
    assert check_model_file(file).digest != first.digest
    with pytest.raises(WeightsError, match="has changed since it was loaded: load the backbone again"):
        first.read()
    weights.unlink()
    with pytest.raises(
        WeightsError, match=r"its weights are in 'net.data', which is missing: copy it beside the model"
    ):
        check_model_file(file)


def test_both_files_of_openvino(file: Path) -> None:
    made = as_xml(file)
    first = check_model_file(made)
    assert first.files == (made, made.with_suffix(".bin"))
    assert first.about(first.read()) == {}
    made.with_suffix(".bin").unlink()
    with pytest.raises(WeightsError, match=r"its weights 'net.bin' are missing"):
        check_model_file(made)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def damaged(path: Path) -> None:
    data = bytearray(seal_onnx(path.read_bytes()))
    data[300] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (folder, "Is a directory"),
        (pipe, "a named pipe, not a regular file"),
        (damaged, "its checksum does not match its bytes"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:500]), "it is damaged or not a model of ONNX: it is cut off"),
        (lambda path: path.write_bytes(b"PK\x03\x04" * 50), "it is damaged or not a model of ONNX"),
    ],
)
def test_files_that_are_no_models(change: Any, reason: str, file: Path) -> None:
    change(file)
    with pytest.raises(WeightsError, match=reason) as caught:
        check_model_file(file)
    assert "\n" not in str(caught.value)


def test_what_openvino_cannot_read_is_one_line(file: Path) -> None:
    model = onnx.load(file)
    model.graph.node[0].op_type = "Unheard"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError, match=r"cannot be loaded .*Unheard.*expected a whole model of ONNX") as caught:
        check_model_file(file).read()
    assert "\n" not in str(caught.value)
