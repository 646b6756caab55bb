"""What a network takes: layout, size, type and number of images; the preprocessing in front of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from featurebank.backbone.openvino_networks.input_form import InputForm, input_form, put_in_front
from featurebank.backbone.preprocess import CAFFE, INSIDE, TF, TORCH, arithmetic
from featurebank.errors import ConfigError
from featurebank.system.imports.openvino import compile_model, import_openvino
from tests.support.onnx_networks import Network

FLOAT = TensorProto.FLOAT


def model(path: Path, shape: Any, dtype: int = FLOAT, order: list[int] | None = None) -> Any:
    net = Network(shape, dtype=dtype)
    value = net.add("Transpose", "image", perm=order) if order else "image"
    net.add("Cast", value, to=FLOAT, name="same")
    return import_openvino().Core().read_model(net.save(path / "net.onnx", "same"))


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        (["n", 3, 8, 8], InputForm("nchw", 8, None, "f32")),
        (["n", 8, 8, 3], InputForm("nhwc", 8, None, "f32")),
        ([1, 3, "h", "w"], InputForm("nchw", None, 1, "f32")),
        (["n", 3, 8, "w"], InputForm("nchw", 8, None, "f32")),
        (["n", 3, 3, 3], InputForm("nchw", 3, None, "f32")),
        (["n", "c", "h", "w"], InputForm("nchw", None, None, "f32")),
    ],
)
def test_the_form_follows_from_the_shape(shape: Any, form: InputForm, tmp_path: Path) -> None:
    assert input_form(model(tmp_path, shape), "net") == form


def test_a_free_shape_that_is_transposed_first_has_channels_last(tmp_path: Path) -> None:
    assert input_form(model(tmp_path, ["n", "h", "w", "c"], order=[0, 3, 1, 2]), "net").axes == "nhwc"


@pytest.mark.parametrize(
    ("shape", "dtype", "reason"),
    [
        (["n", 1, 8, 8], FLOAT, r"shape \(\?, 1, 8, 8\): expected RGB images, with three channels"),
        (["n", 3, 8, 9], FLOAT, "takes images of 8 x 9 pixels: expected a square"),
        (["n", 77], TensorProto.INT64, r"shape \(\?, 77\) and type i64: expected RGB images"),
        (["n", 3, 8, 8], TensorProto.BOOL, "and type boolean: expected RGB images"),
    ],
)
def test_other_inputs_are_refused(shape: Any, dtype: int, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=reason):
        input_form(model(tmp_path, shape, dtype), "net")


def test_several_inputs_are_refused_by_name(tmp_path: Path) -> None:
    net = Network(["n", 3, 8, 8])
    net.inputs += Network(["n", 77]).inputs
    net.inputs[1].name = "input_ids"
    net.add("ReduceSum", "input_ids", keepdims=0, name="sum")
    net.add("Add", "image", "sum", name="both")
    read = import_openvino().Core().read_model(net.save(tmp_path / "net.onnx", "both"))
    with pytest.raises(ConfigError, match=r"has 2 inputs \('image', 'input_ids'\): expected one, the image"):
        input_form(read, "net")


def test_the_image_size() -> None:
    fixed, free = InputForm("nchw", 8, None, "f32"), InputForm("nchw", None, None, "f32")
    assert [fixed.image_size("net", None), fixed.image_size("net", 8), free.image_size("net", 9)] == [8, 8, 9]
    with pytest.raises(ConfigError, match="takes images of 8 x 8 pixels, got image size 9: leave it out"):
        fixed.image_size("net", 9)
    with pytest.raises(ConfigError, match="takes images of any size: choose one, as --image-size 224"):
        free.image_size("net", None)
    with pytest.raises(ConfigError, match="expected a number of pixels"):
        free.image_size("net", 0)


@pytest.mark.parametrize("rule", [INSIDE, TF, TORCH, CAFFE])
@pytest.mark.parametrize("shape", [["n", 3, 4, 4], ["n", 4, 4, 3]])
def test_the_preprocessing_comes_first(rule: str, shape: Any, tmp_path: Path) -> None:
    read = model(tmp_path, shape)
    whole, _ = put_in_front(read, form := input_form(read, "net"), 4, rule, "net")
    images = np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3), dtype=np.uint8)
    compiled = compile_model(import_openvino().Core(), whole, {"INFERENCE_PRECISION_HINT": "f32"})
    does = arithmetic(rule)
    expected = images[..., ::-1] if does.is_bgr else images
    expected = expected * np.array(does.scale) + np.array(does.offset)
    got = compiled(images)[0]
    assert np.allclose(got.transpose(0, 2, 3, 1) if form.axes == "nchw" else got, expected, atol=1e-5)


def test_whole_numbers_are_not_rescaled(tmp_path: Path) -> None:
    read = model(tmp_path, ["n", 3, 4, 4], TensorProto.UINT8)
    with pytest.raises(ConfigError, match=r"takes whole numbers \(u8\).*use --preprocessing none"):
        put_in_front(read, input_form(read, "net"), 4, TORCH, "net")
    put_in_front(read, input_form(read, "net"), 4, INSIDE, "net")


def test_a_network_for_a_fixed_number_of_images(tmp_path: Path) -> None:
    net = Network([2, 3, 4, 4])
    net.add("Concat", "image", net.random(2, 1, 4, 4), axis=1, name="joined")
    read = import_openvino().Core().read_model(net.save(tmp_path / "net.onnx", "joined"))
    with pytest.raises(
        ConfigError, match=r"works only for the 2 images at a time that its file fixes \(.*\): export it"
    ):
        put_in_front(read, input_form(read, "net"), 4, INSIDE, "net")
