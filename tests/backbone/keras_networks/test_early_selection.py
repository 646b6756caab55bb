"""A selection of tokens that moves towards the input changes neither outputs nor gradients, only the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny

from featurebank.backbone.keras_networks.early_selection import with_early_selection

pytestmark = pytest.mark.heavy

TOKENS, WIDTH = 6, 4
ROWS = np.random.default_rng(0).normal(size=(3, TOKENS, WIDTH)).astype(np.float32)


def outputs_and_gradients(model: Any, inputs: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import tensorflow as tf

    variables = {weight.path: weight.value for weight in model.weights}
    with tf.GradientTape() as tape:
        outputs = model(inputs)
        loss = tf.reduce_sum(outputs**2)
    gradients = tape.gradient(loss, variables)
    return outputs.numpy(), {path: np.asarray(gradient) for path, gradient in gradients.items()}


def assert_equal(model: Any, other: Any, inputs: np.ndarray) -> None:
    (outputs, gradients), (found, found_gradients) = (outputs_and_gradients(m, inputs) for m in (model, other))
    np.testing.assert_allclose(found, outputs, rtol=1e-5, atol=1e-5)
    assert found_gradients.keys() == gradients.keys()
    for path, gradient in gradients.items():
        np.testing.assert_allclose(found_gradients[path], gradient, rtol=1e-4, atol=1e-4, err_msg=path)


def rows_of_dense_layers(model: Any) -> dict[str, int]:
    """How many rows the last call of each dense layer of a model computes."""
    calls = model.get_config()["layers"]
    sources = {call["name"]: call["inbound_nodes"][0]["args"] for call in calls if call["class_name"] == "Dense"}
    return {name: args[0]["config"]["shape"][1] for name, args in sources.items()}


def test_the_last_block_of_a_transformer_computes_one_row() -> None:
    import keras

    network, _ = tiny.transformer()
    tail = keras.Model(network.get_layer("block0_out").output, network.output)
    early = with_early_selection(tail)
    tokens = np.random.default_rng(0).normal(size=(2, 17, 8)).astype(np.float32)
    assert_equal(tail, early, tokens)
    assert {id(weight) for weight in early.weights} == {id(weight) for weight in tail.weights}
    assert rows_of_dense_layers(early) == {
        "block1_dense1": 17, "block1_dense2": 17, "block2_dense1": 1, "block2_dense2": 1,
    }  # fmt: skip


def cropped(x: Any) -> Any:
    from keras import layers

    return layers.Flatten()(layers.Cropping1D((2, 3))(layers.Dense(3, name="dense")(x)))


def last(x: Any) -> Any:
    from keras import layers

    return layers.Dense(3, name="dense")(x)[:, -1]


def two_together(x: Any) -> Any:
    from keras import layers, ops

    x = layers.Multiply()(
        [layers.Dense(3, name="dense")(x), layers.Activation("relu")(layers.Dense(3, name="other")(x))]
    )
    return ops.silu(x)[:, 1:3, :]


def keys_by_name(x: Any) -> Any:
    from keras import layers

    return layers.Dense(2, name="dense")(layers.MultiHeadAttention(1, 2)(query=x, value=x))[:, 2]


def used_elsewhere(x: Any) -> Any:
    """The dense layer is used with all tokens, too; the normalisation after it is not."""
    from keras import layers

    x = layers.Dense(3, name="dense")(x)
    return layers.Add()([layers.LayerNormalization()(x)[:, 0], layers.GlobalAveragePooling1D()(x)])


@pytest.mark.parametrize(
    ("build", "rows"), [(cropped, 1), (last, 1), (two_together, 2), (keys_by_name, 1), (used_elsewhere, TOKENS)]
)
def test_only_the_rows_that_matter_are_computed(build: Callable[[Any], Any], rows: int) -> None:
    import keras

    inputs = keras.Input((TOKENS, WIDTH))
    model = keras.Model(inputs, build(inputs))
    early = with_early_selection(model)
    assert early is not model
    assert_equal(model, early, ROWS)
    assert rows_of_dense_layers(early)["dense"] == rows


def masked(x: Any) -> Any:
    from keras import layers

    return layers.MultiHeadAttention(1, 2)(x, x, use_causal_mask=True)[:, 2]


def over_tokens(x: Any) -> Any:
    from keras import layers

    return layers.LayerNormalization(axis=[1, 2])(x)[:, 0]


def shared_dropout(x: Any) -> Any:
    from keras import layers

    return layers.Dropout(0.5, noise_shape=(None, TOKENS, 1))(x)[:, 0]


def broadcast(x: Any) -> Any:
    from keras import layers

    return layers.Add()([x, x[:, :1]])[:, 2]


def turned(x: Any) -> Any:
    return x[:, ::-1]


def own_activation(x: Any) -> Any:
    from keras import layers

    return layers.Activation(turned)(x)[:, 0]


def most(x: Any) -> Any:
    from keras import layers

    return layers.Dense(3, name="dense")(x)[:, 1:]


def reversed_rows(x: Any) -> Any:
    from keras import layers

    return layers.Dense(3, name="dense")(x)[:, 1::-1]


def one_channel(x: Any) -> Any:
    from keras import layers

    return layers.Dense(3, name="dense")(x)[:, 0, 1:]


@pytest.mark.parametrize(
    "build", [masked, over_tokens, shared_dropout, broadcast, own_activation, most, reversed_rows, one_channel]
)
def test_what_sees_other_tokens_stays(build: Callable[[Any], Any]) -> None:
    import keras

    inputs = keras.Input((TOKENS, WIDTH))
    model = keras.Model(inputs, build(inputs))
    assert with_early_selection(model) is model
