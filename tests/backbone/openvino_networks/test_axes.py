"""The meaning of axes follows from the operations of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.backbone.openvino_networks.axes import axes_of, constant, reshaped
from featurebank.system.imports.openvino import import_openvino
from featurebank.system.model_files.trial import BATCH

ops = import_openvino().opset13


def whole(*numbers: int) -> Any:
    return ops.constant(np.array(numbers, np.int64))


def parameter(*shape: int) -> Any:
    return ops.parameter(list(shape), np.float32)


def meaning(node: Any, *axes: str | None) -> str:
    """Returns the axes of a node whose inputs have some; None for an input that is a constant."""
    sources = [
        None if name is None else (name, tuple(node.input_value(place).get_shape())) for place, name in enumerate(axes)
    ]
    return axes_of(node, sources, tuple(node.output(0).get_shape()))


def test_convolutions_and_pools_are_channels_first_whatever_comes_before() -> None:
    image, kernel = parameter(2, 3, 8, 8), ops.constant(np.zeros((4, 3, 3, 3), np.float32))
    node = ops.convolution(image, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    assert meaning(node, "", None) == "nchw"
    assert meaning(ops.max_pool(image, [1, 1], [1, 1], [0, 0], [0, 0], [2, 2]), "") == "nchw"


def test_transposes_reductions_and_picks() -> None:
    image, tokens = parameter(2, 3, 8, 6), parameter(2, 5, 4)
    assert meaning(ops.transpose(image, whole(0, 2, 3, 1)), "nchw", None) == "nhwc"
    assert meaning(ops.transpose(image, whole(0, 2, 3, 1)), "", None) == ""
    assert meaning(ops.reduce_mean(image, whole(2, 3), keep_dims=True), "nchw", None) == "nchw"
    assert meaning(ops.reduce_mean(image, whole(-1, -2), keep_dims=False), "nchw", None) == "nc"
    assert meaning(ops.gather(tokens, whole(0), whole(1)), "ntc", None, None) == "ntc"
    scalar = ops.constant(np.int64(0))
    assert meaning(ops.gather(tokens, scalar, whole(1)), "ntc", None, None) == "nc"
    assert meaning(ops.gather(tokens, scalar, whole(-2)), "ntc", None, None) == "nc"
    cut = ops.strided_slice(tokens, whole(0, 0, 0), whole(0, 1, 0), whole(1, 1, 1), [1, 0, 1], [1, 0, 1], [], [0, 1, 0])
    assert meaning(cut, "ntc", None, None, None) == "nc"
    assert meaning(ops.concat([tokens, tokens], 1), "", "ntc") == "ntc"


def test_products_and_sums() -> None:
    tokens, weights = parameter(BATCH, 5, 4), ops.constant(np.zeros((4, 7), np.float32))
    product = ops.matmul(tokens, weights, transpose_a=False, transpose_b=False)
    assert meaning(product, "nct", None) == "nct"
    assert meaning(product, "", None) == "ntc"  # a linear layer takes channels last
    folded = ops.matmul(parameter(2 * BATCH, 5, 4), weights, transpose_a=False, transpose_b=False)
    assert meaning(folded, "", None) == ""  # windows of images
    scores = ops.matmul(tokens, tokens, transpose_a=False, transpose_b=True)
    assert meaning(scores, "ntc", "ntc") == ""  # attention
    assert meaning(ops.add(tokens, tokens), "", "ntc") == "ntc"
    assert meaning(ops.add(tokens, parameter(BATCH, 1, 4)), "", "") == ""


@given(st.integers(1, 5), st.integers(1, 5), st.integers(2, 7))
def test_a_reshape_to_tokens_and_back_keeps_the_meaning(height: int, width: int, channels: int) -> None:
    places = height * width
    for axes, shape, rows in (
        ("nhwc", (3, height, width, channels), (3, places, channels)),
        ("nchw", (3, channels, height, width), (3, channels, places)),
    ):
        tokens = reshaped(axes, shape, rows)
        assert set(tokens) == set("ntc")
        if places != 1:
            assert tokens == ("ntc" if axes == "nhwc" else "nct")
            assert reshaped(tokens, rows, shape) == axes
            assert reshaped(axes, shape, (3, places * channels)) == "nf"
    assert reshaped("nchw", (3, channels, height, width), (3 * channels, places)) == ""


@pytest.mark.parametrize("after", [(2, 12, 8), (24, 8), (2, 2, 6, 2, 4), ()])
def test_other_reshapes_have_no_meaning(after: tuple[int, ...]) -> None:
    assert reshaped("nchw", (2, 8, 3, 4), after) == ""


def test_constants() -> None:
    tokens = parameter(2, 5, 4)
    assert constant(ops.transpose(tokens, ops.convert(ops.constant(np.array([0, 2, 1], np.int32)), "i64")), 1) == [
        0,
        2,
        1,
    ]
    assert constant(ops.transpose(tokens, ops.parameter([3], np.int64)), 1) is None
    assert constant(ops.relu(tokens), 1) is None
