"""Multiply-adds of operations, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.backbone.openvino_networks.work import multiply_adds
from featurebank.system.imports.openvino import import_openvino

ops = import_openvino().opset13


def parameter(*shape: int) -> Any:
    return ops.parameter(list(shape), np.float32)


def work(node: Any) -> int:
    inputs = [tuple(value.get_source_output().get_shape()) for value in node.inputs()]
    return multiply_adds(node, inputs, tuple(node.output(0).get_shape()))


def test_convolutions() -> None:
    plain = ([1, 1], [0, 0], [0, 0], [1, 1])
    assert work(ops.convolution(parameter(2, 3, 8, 8), parameter(4, 3, 3, 3), *plain)) == 2 * 6 * 6 * 4 * 3 * 9
    assert work(ops.group_convolution(parameter(2, 4, 8, 8), parameter(4, 1, 1, 3, 3), *plain)) == 2 * 6 * 6 * 4 * 9
    up = ops.convolution_backprop_data(parameter(2, 3, 8, 8), parameter(3, 4, 2, 2), strides=[2, 2])
    assert work(up) == 2 * 8 * 8 * 3 * 4 * 4


def test_products() -> None:
    assert work(ops.matmul(parameter(2, 5, 4), parameter(4, 7), transpose_a=False, transpose_b=False)) == 2 * 5 * 4 * 7
    assert work(ops.matmul(parameter(2, 4, 5), parameter(4, 7), transpose_a=True, transpose_b=False)) == 2 * 5 * 4 * 7
    assert work(ops.matmul(parameter(4), parameter(4, 7), transpose_a=False, transpose_b=False)) == 4 * 7
    assert work(ops.einsum([parameter(2, 5, 4), parameter(2, 6, 4)], "bqd,bkd->bqk")) == 2 * 5 * 6 * 4
    assert work(ops.relu(parameter(2, 5))) == 0


def test_attention() -> None:
    attention = ops.scaled_dot_product_attention(parameter(2, 3, 5, 4), parameter(2, 3, 6, 4), parameter(2, 3, 6, 7))
    assert work(attention) == 2 * 3 * 5 * 6 * (4 + 7)
