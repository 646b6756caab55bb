"""What counts as work: convolutions, dense layers, attention, matrix products."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers, ops

from featurebank.backbone.keras_networks.work import multiply_adds

SEQUENCE = (10, 12)


def counted(build: Any, shape: tuple[int, ...] = SEQUENCE) -> int:
    image = keras.Input(shape)
    model = keras.Model(image, build(image))
    return sum(multiply_adds(operation) for operation in model.operations)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (layers.Dense(7), 10 * 12 * 7),
        (layers.EinsumDense("abc,cd->abd", (10, 7)), 10 * 12 * 7),
        (layers.EinsumDense("...x,xy->...y", 7), 10 * 12 * 7),
        (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), 10 * 12 * 10),
        (lambda x: layers.Dot(axes=2)([x, x]), 10 * 12 * 10),
        (lambda x: ops.einsum("bik,bjk->bij", x, x), 10 * 12 * 10),
        (lambda x: layers.Attention()([x, x]), 2 * 10 * 10 * 12),
        (lambda x: layers.MultiHeadAttention(2, 3)(x, x), 10 * 4 * 12 * 6 + 2 * 10 * 10 * 6),
        (lambda x: layers.Add()([x, x]), 0),
    ],
)
def test_of_an_image(build: Any, expected: int) -> None:
    assert counted(build) == expected


def test_of_nested_models() -> None:
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.DepthwiseConv2D(3)])
    assert multiply_adds(inner) == 6 * 6 * 9 * 3 * 4 + 4 * 4 * 9 * 4
