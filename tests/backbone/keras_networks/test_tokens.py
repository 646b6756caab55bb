"""How a user's transformer arranges and pools its tokens is seen, however it is written."""

from __future__ import annotations

import keras
import pytest
from keras import layers
from vits import pool, vit

from featurebank.backbone.keras_networks.cuts import nodes_of
from featurebank.backbone.keras_networks.tokens import NetworkTokens, tokens_of
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.structure.features import last_features

pytestmark = pytest.mark.heavy


def tokens(model: keras.Model) -> NetworkTokens:
    return tokens_of(model, last_features(nodes_of(model), "m", ""))


@pytest.mark.parametrize(
    ("options", "pooling", "layout"),
    [
        ({}, "class token", "class token, 4 x 4 patches"),
        ({"prefix": 5, "stem": "hybrid"}, "class token", "class token, 4 register tokens, 4 x 4 patches"),
        ({"prefix": 0, "pooling": "mean", "style": "post"}, "mean of patches", "4 x 4 patches"),
        ({"pooling": "mean", "style": "ops"}, "mean of patches", "class token, 4 x 4 patches"),
        ({"pooling": "all", "style": "class"}, "mean of tokens", "class token, 4 x 4 patches"),
        ({"prefix": 0, "pooling": "attention", "stem": "reshape"}, "attention", "4 x 4 patches"),
        ({"prefix": 0, "pooling": "weights", "style": "einsum"}, "attention", "4 x 4 patches"),
        ({"pooling": "flat"}, "all tokens", "class token, 4 x 4 patches"),
        ({"pooling": "", "stem": "reshape"}, "mean of patches", "class token, 4 x 4 patches"),
    ],
    ids=str,
)
def test_tokens(options: dict, pooling: str, layout: str) -> None:
    found = tokens(vit(**options))
    assert (found.layer, found.pooling, found.layout.describe()) == ("norm", pooling, layout)
    assert bool(found.pooled) is (options.get("pooling") != "")


def test_a_pooling_that_cannot_be_named_is_its_layer() -> None:
    base = vit(pooling="", prefix=0, depth=1)
    x = layers.Conv1D(3, 2, activation="relu", strides=2, name="odd")(base.output)
    x = layers.Flatten(name="vector")(x)
    model = keras.Model(base.input, layers.Dense(2)(x))
    assert tokens(model).pooling in {"layer 'vector'", "all tokens"}


def test_patches_in_another_order_are_no_grid() -> None:
    image = keras.Input((16, 16, 3))
    x = layers.Reshape((8, 16))(layers.Conv2D(8, 4, strides=4, name="patch")(image))
    x = layers.Permute((2, 1))(x)
    x = layers.Add(name="out")([x, layers.MultiHeadAttention(2, 64)(x, x)])
    assert tokens(keras.Model(image, pool(x, "mean"))).layout == TokenLayout(0, False, None, 16)
