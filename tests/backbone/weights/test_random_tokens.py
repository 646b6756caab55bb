"""What a weight of a transformer is, by the layer that has it, its name and its shape."""

from __future__ import annotations

import math
from typing import Any

import keras
import pytest
from keras import layers
from vits import Block, Handmade, Prefix

from featurebank.backbone.weights.random_tokens import EMBEDDING, draw_of, owners_of


def draws(layer: Any, *shapes: tuple[int, ...]) -> dict[str, tuple[float, float]]:
    """Returns the constant and the deviation of each weight of a layer, by the end of its path."""
    layer(*(keras.Input(shape) for shape in shapes))
    owners = owners_of(layer)
    found = {}
    for weight in layer.weights:
        draw = draw_of(owners[id(weight)], weight)
        found["/".join(weight.path.split("/")[-2:])] = draw and (draw.constant, round(draw.deviation, 6))
    return found


def kernel(fan_in: int) -> tuple[float, float]:
    return 0.0, round(math.sqrt(1 / fan_in), 6)


def test_attention_sums_up_the_width_and_then_the_heads() -> None:
    found = draws(layers.MultiHeadAttention(3, 5, name="a"), (7, 12), (7, 12))
    for part in ("query", "key", "value"):
        assert found[f"{part}/kernel"] == kernel(12)
        assert found[f"{part}/bias"] == (0, 0)
    assert found["attention_output/kernel"] == kernel(15)


def test_layers_inside_of_a_layer() -> None:
    found = draws(Block(2, name="b"), (7, 12))
    assert found["up/kernel"] == kernel(12)
    assert found["down/kernel"] == kernel(24)
    assert found["norm_1/gamma"] == (1, 0)
    assert found["query/kernel"] == kernel(12)


@pytest.mark.parametrize(
    ("layer", "shape", "name", "expected"),
    [
        (Prefix(2, name="p"), (4, 12), "p/cls_token", (0, EMBEDDING)),
        (Prefix(2, name="p"), (4, 12), "p/position_embedding", (0, EMBEDDING)),
        (Handmade(name="h"), (4, 12), "h/qkv", kernel(12)),
        (layers.EinsumDense("abc,cde->abde", (4, 3, 2), name="e"), (4, 12), "e/kernel", kernel(12)),
        (layers.Embedding(9, 4, name="t"), (4,), "t/embeddings", (0, EMBEDDING)),
    ],
)
def test_other_weights(layer: Any, shape: tuple[int, ...], name: str, expected: tuple[float, float]) -> None:
    assert draws(layer, shape)[name] == expected


def test_what_is_no_known_weight() -> None:
    class Odd(layers.Layer):
        def build(self, _shape: tuple[int, ...]) -> None:
            self.add_weight(name="slope", shape=())

        def call(self, x: Any) -> Any:
            return x

    assert draws(Odd(name="o"), (3,)) == {"o/slope": None}
