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


@keras.saving.register_keras_serializable("test_work")
class Same(layers.Layer):
    """A layer whose class says nothing: it computes what another layer does."""

    def __init__(self, inner: layers.Layer, **options: Any) -> None:
        super().__init__(**options)
        self.inner = inner

    def call(self, x: Any, y: Any = None) -> Any:
        return self.inner(x) if y is None else self.inner(x, y)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.Dense(7), SEQUENCE), (lambda: layers.EinsumDense("abc,cd->abd", (10, 7)), SEQUENCE),
        (lambda: layers.EinsumDense("...x,xy->...y", 7), SEQUENCE), (lambda: layers.Conv2D(4, 3, strides=2), (9, 9, 3)),
        (lambda: layers.DepthwiseConv2D(3), (9, 9, 3)), (lambda: layers.SeparableConv2D(5, 3), (9, 9, 3)),
        (lambda: layers.MaxPooling2D(2), (8, 8, 3)), (layers.LayerNormalization, SEQUENCE),
    ],
)  # fmt: skip
def test_hidden_work_is_counted_as_the_open_one(make: Any, shape: tuple[int, ...]) -> None:
    assert counted(Same(make()), shape) == counted(make(), shape)


def test_hidden_attention() -> None:
    plain, hidden = layers.MultiHeadAttention(2, 3), Same(layers.MultiHeadAttention(2, 3))
    assert counted(lambda x: hidden(x, x)) == counted(lambda x: plain(x, x))


class Raw(layers.Layer):
    """Weights without names that Keras knows, in a loop that a trace cannot see through."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.matrix = self.add_weight(name="mix", shape=(shape[-1], shape[-1]))
        self.place = self.add_weight(name="place", shape=(1, *shape[1:]))

    def call(self, x: Any) -> Any:
        return ops.while_loop(lambda count, y: count < 2, lambda count, y: (count + 1, y @ self.matrix), (0, x))[1]


class Untraceable(Raw):
    def call(self, x: Any) -> Any:
        message = "cannot be called"
        raise RuntimeError(message)

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape


@pytest.mark.parametrize("kind", [Raw, Untraceable])
def test_work_that_cannot_be_traced_is_bounded_by_its_weights(kind: type[layers.Layer]) -> None:
    assert counted(kind()) == 10 * 12 * 12


@pytest.mark.parametrize(
    ("build", "shape", "expected"),
    [
        (layers.Conv1D(5, 3), SEQUENCE, 8 * 3 * 12 * 5),
        (layers.Conv2DTranspose(4, 3, strides=2), (5, 5, 3), 5 * 5 * 9 * 3 * 4),
        (layers.Conv3D(4, 2), (3, 3, 3, 2), 8 * 8 * 2 * 4),
        (layers.GRU(4), SEQUENCE, 10 * (12 + 4) * 12),
        (lambda x: ops.dot_product_attention(*3 * [x]), (5, 2, 3), 2 * 2 * 5 * 5 * 3),
        (layers.Embedding(4, 3), (6,), 0),
    ],
)
def test_other_layers_and_operations(build: Any, shape: tuple[int, ...], expected: int) -> None:
    assert counted(build, shape) == expected
