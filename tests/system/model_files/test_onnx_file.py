"""What an ONNX file refers to is read without the package onnx; other files must lie beside the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from featurebank.errors import ArchiveError
from featurebank.system.model_files.onnx_file import ExternalData, OnnxFile, check_external, scan_onnx


def tensor(location: str | None = None, *, offset: int = 0, length: int = 16) -> TensorProto:
    """Returns four numbers, here or in another file."""
    value = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    if location is not None:
        value.ClearField("raw_data")
        value.data_location = TensorProto.EXTERNAL
        for key, text in (("location", location), ("offset", str(offset)), ("length", str(length))):
            value.external_data.add(key=key, value=text)
    return value


def model(value: TensorProto, domain: str = "") -> bytes:
    """Returns a model whose weights are also in a branch and in an attribute."""
    node = helper.make_node("Add", ["x", "w"], ["y"], domain=domain)
    inner = helper.make_graph([node], "inner", [], [], [value])
    branch = helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner)
    constant = helper.make_node("Constant", [], ["c"], value=value)
    graph = helper.make_graph([branch, constant], "outer", [], [])
    made = helper.make_model(graph)
    made.metadata_props.add(key="who", value="nobody")
    return made.SerializeToString()


def test_metadata_domains_and_places_of_weights() -> None:
    assert scan_onnx(model(tensor())) == OnnxFile({"who": "nobody"}, [], {""})
    found = scan_onnx(memoryview(model(tensor("w.bin", offset=64), domain="com.example")))
    assert found.external == [ExternalData("w.bin", 80)] * 3
    assert found.domains == {"", "com.example"}


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(data: bytes, place: int) -> None:
    whole = model(tensor("w.bin"))
    for broken in (data, whole[:place], whole[:place] + data + whole[place:]):
        try:
            scan_onnx(broken)
        except ArchiveError as error:
            assert "damaged or not a model of ONNX" in str(error)  # noqa: PT017 - some are sound


def test_nesting_without_end_is_refused() -> None:
    inner = b""
    for _ in range(100):  # a graph in an attribute of a node of a graph
        for tag in (0x32, 0x2A, 0x0A):
            size, length = len(inner), b""
            while size > 0x7F:
                length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
            inner = bytes([tag]) + length + bytes([size]) + inner
    graph = onnx.ModelProto(ir_version=8).SerializeToString() + b"\x3a" + b"\xff\xff\x7f"
    with pytest.raises(ArchiveError, match="cut off"):
        scan_onnx(graph + inner)
    size = len(inner)
    with pytest.raises(ArchiveError, match="too many parts"):
        scan_onnx(b"\x3a" + bytes([size & 0x7F | 0x80, size >> 7]) + inner)


def test_weights_lie_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(80))
    file = OnnxFile(external=[ExternalData("sub/w.bin", 16), ExternalData("sub/w.bin", 80)])
    assert check_external(tmp_path / "net.onnx", file) == [tmp_path / "sub" / "w.bin"]


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("missing.bin", "which is missing: copy it beside the model"),
        ("short.bin", "which has 3 bytes, expected 80: copy it again"),
        ("link.bin", "which is a link"),
        ("folder/w.bin", "which is a link"),
        ("plain", "which is not a regular file"),
        ("../w.bin", "only a file beside the model is read"),
        ("plain/../../w.bin", "only a file beside the model is read"),
        ("/etc/passwd", "only a file beside the model is read"),
        ("..\\w.bin", "only a file beside the model is read"),
        ("", "only a file beside the model is read"),
        ("a\0b", "only a file beside the model is read"),
        ("*/_ORT_MEM_ADDR_/*", "which is missing"),
    ],
)
def test_weights_elsewhere_are_refused(location: str, reason: str, tmp_path: Path) -> None:
    place = tmp_path / "model"
    (place / "plain").mkdir(parents=True)
    (place / "short.bin").write_bytes(b"abc")
    (tmp_path / "w.bin").write_bytes(bytes(80))
    (place / "link.bin").symlink_to(tmp_path / "w.bin")
    (place / "folder").symlink_to(tmp_path)
    with pytest.raises(ArchiveError, match=reason):
        check_external(place / "net.onnx", OnnxFile(external=[ExternalData(location, 80)]))
