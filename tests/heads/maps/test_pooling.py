"""Heads that learn how to pool: where attention looks, and what becomes of the power."""

from __future__ import annotations

from typing import Any

import by_keras
import numpy as np
import pytest

from featurebank.errors import HeadError
from featurebank.heads.joint_network import first_tensors
from featurebank.heads.maps.pooling import AttentionPoolHead, GemPoolHead
from featurebank.system.runtime import import_tensorflow

pytestmark = pytest.mark.heavy


def spotted(seed: int = 0, count: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps of noise with one place that is marked by channel 0 and tells the class by the sign of channel 1."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, count)
    X = random.normal(size=(count, 5, 5, 2)).astype(np.float32)
    X[..., 0] *= 0.1
    place = random.integers(0, 25, count)
    flat = X.reshape(count, 25, 2)
    flat[np.arange(count), place, 0] = 3
    flat[np.arange(count), place, 1] = np.where(y, 2, -2)
    return X, y, place


def test_attention_finds_the_place_that_tells() -> None:
    X, y, _ = spotted()
    X_val, y_val, place = spotted(1)
    options: dict[str, Any] = {"learning_rate": 0.05, "epochs": 40}
    head = AttentionPoolHead(**options).fit(X, y)
    assert head.score(X_val, y_val) > 0.95
    assert GemPoolHead(**options).fit(X, y).score(X_val, y_val) < 0.9, "without looking, it is hard"
    shares = head.attention_maps(X_val)
    assert shares.shape == (120, 5, 5, 1)
    np.testing.assert_allclose(shares.sum((1, 2)), 1, atol=1e-5)
    assert np.mean(shares.reshape(120, 25).argmax(1) == place) > 0.95
    assert head.attention_maps(X_val[:0]).shape == (0, 5, 5, 1)


def test_a_trained_head_answers_for_maps_of_another_size() -> None:
    X, y, _ = spotted()
    for head in (AttentionPoolHead(epochs=2), GemPoolHead(epochs=2)):
        head.fit(X, y)
        one = head.predict_proba(X)
        doubled = X.repeat(2, axis=1).repeat(2, axis=2)  # each place four times: no mean changes
        np.testing.assert_allclose(head.predict_proba(doubled), one, atol=1e-5)


def pooled_by_hand(X: np.ndarray, power: float) -> np.ndarray:
    return np.asarray((np.maximum(X.astype(np.float64), 1e-6) ** power).mean((1, 2)) ** (1 / power))


@pytest.mark.parametrize("power", [1.0, 3.0, 200.0])
def test_the_power_is_learnt_from_where_it_begins(maps: Any, power: float) -> None:
    head = GemPoolHead(power=power, epochs=1, learning_rate=1e-12).fit(maps.X, maps.y)
    assert float(head.tensors_["power"]) == pytest.approx(power, abs=1e-5)
    vectors = head.stem().answer(maps.X, head.tensors_)
    np.testing.assert_allclose(vectors, pooled_by_hand(maps.X, power), rtol=1e-3)
    moved = GemPoolHead(power=power, epochs=3, learning_rate=0.1).fit(maps.X, maps.y)
    assert 1 <= float(moved.tensors_["power"]) != power or power == 1


def test_the_power_stays_at_1_or_more(maps: Any) -> None:
    """Spikes of one sign on noise: the average tells more than what is larger, so the power would go below."""
    head = GemPoolHead(power=1.0, epochs=10, learning_rate=0.3, optimizer="sgd").fit(maps.X, maps.y)
    assert float(head.tensors_["power"]) >= 1


@pytest.mark.xla
def test_keras_trains_the_same_attention(hard_maps: Any) -> None:
    head = AttentionPoolHead(queries=2, hidden_units=4, learning_rate=0.01, epochs=3, batch_size=32)
    head.fit(hard_maps.X, hard_maps.y)
    import_tensorflow()
    import keras

    first = first_tensors(head, (7, 7, 2), 3)
    inputs = keras.Input((7, 7, 2))
    flat = keras.layers.Reshape((49, 2))(inputs)
    queries = keras.layers.Dense(2, use_bias=False)
    shares = keras.layers.Softmax(axis=1)(queries(flat))
    x = keras.layers.Flatten()(keras.layers.Dot(axes=(1, 1))([shares, flat]))
    hidden, last = keras.layers.Dense(4, "relu"), keras.layers.Dense(3, "softmax")
    model = keras.Model(inputs, last(hidden(x)))
    queries.set_weights([first["kernel0"]])
    for layer, name in ((hidden, "dense0"), (last, "dense1")):
        layer.set_weights([first[f"kernel_{name}"], first[f"bias_{name}"]])
    by_keras.fit(model, head, hard_maps.X, hard_maps.y)
    expected = np.asarray(model(hard_maps.X_val))
    np.testing.assert_allclose(head.predict_proba(hard_maps.X_val), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (AttentionPoolHead(queries=0), "queries is 0, expected a whole number of 1 or more"),
        (GemPoolHead(power=0.5), "power is 0.5, expected a number of 1 or more"),
        (GemPoolHead(power="three"), "power is 'three', expected a number"),  # type: ignore[arg-type]
        (GemPoolHead(standardize=True), "standardize is True, expected false: a power of a negative number is none"),
    ],
)
def test_what_cannot_be(head: Any, told: str, maps: Any) -> None:
    with pytest.raises(HeadError, match=told):
        head.fit(maps.X, maps.y)
