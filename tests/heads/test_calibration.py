"""Temperature scaling: surer or less sure, never another answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank import make_head, metrics
from featurebank.errors import ConfigError, HeadError
from featurebank.heads.base import Head
from featurebank.heads.calibration import CalibratedHead, at_temperature
from featurebank.heads.catalog import kind_of
from featurebank.heads.storage.saving import load_head, save_head


class Told(Head):
    """Answers with its features, taken for logits."""

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: Any = None) -> Told:
        self.classes_, self.n_features_in_ = np.unique(y), X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        powers = np.exp(X - X.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True), np.float32)


def answers(count: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their probabilities at a temperature: the one that calibration should find."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (count, 4))
    true = at_temperature(Told().predict_proba(logits), temperature)
    labels = (random.random(count)[:, None] > true.cumsum(1)).sum(1)
    return logits.astype(np.float32), np.minimum(labels, 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_finds_the_temperature(temperature: float) -> None:
    X, y = answers(6000, temperature, 0)
    head = CalibratedHead(Told()).fit(X, y, (X, y))
    assert head.temperature_ == pytest.approx(temperature, rel=0.06)
    X_new, y_new = answers(6000, temperature, 1)
    assert metrics.scores(head.predict_proba(X_new), y_new)["calibration_error"] < 0.025
    if temperature != 1:
        assert metrics.scores(head.head_.predict_proba(X_new), y_new)["calibration_error"] > 0.05


def test_the_temperature_is_the_best_one() -> None:
    X, y = answers(500, 2.0, 0)
    head = CalibratedHead(Told()).fit(X, y, (X, y))
    raw = head.head_.predict_proba(X)
    losses = [metrics.log_loss(at_temperature(raw, t), y) for t in np.geomspace(0.05, 20, 300)]
    assert metrics.log_loss(head.predict_proba(X), y) <= min(losses) + 1e-6


@given(seed=st.integers(0, 2**32 - 1), temperature=st.floats(0.05, 20), sharpness=st.sampled_from([1e-3, 1.0, 100.0]))
@settings(max_examples=80)
def test_no_temperature_changes_an_answer(seed: int, temperature: float, sharpness: float) -> None:
    logits = np.random.default_rng(seed).normal(0, sharpness, (50, 6))
    raw = Told().predict_proba(logits)
    assert np.array_equal(at_temperature(raw, temperature).argmax(1), raw.argmax(1))


def test_each_half_is_judged_by_the_other() -> None:
    X, y = answers(60, 2.0, 0)
    head = CalibratedHead(Told()).fit(X, y, (X, y))
    apart = head.predict_validation(X, y)
    own = CalibratedHead(Told()).fit(X, y, (X[1::2], y[1::2]))
    assert np.array_equal(apart[::2], own.predict_proba(X[::2]))
    assert np.array_equal(apart.argmax(1), head.predict_proba(X).argmax(1))


def test_one_validation_image(sample: Any) -> None:
    head = make_head("nearest_mean", {"calibrate": "temperature"})
    head.fit(sample.X, sample.y, (sample.X_val[:1], sample.y_val[:1]))
    assert head.predict_validation(sample.X_val[:1], sample.y_val[:1]).shape == (1, 3)


def test_without_validation_data(sample: Any) -> None:
    with pytest.raises(HeadError, match="needs validation data: fit"):
        make_head("ridge", {"calibrate": "temperature"}).fit(sample.X, sample.y)


@pytest.mark.parametrize("method", ["isotonic", True, 3])
def test_a_method_that_is_none(method: Any, sample: Any) -> None:
    head = make_head("ridge", {"calibrate": method})
    with pytest.raises(HeadError, match=r"calibrate is .*: expected 'temperature'"):
        head.check()
    with pytest.raises(HeadError, match="calibrate is"):
        head.fit(sample.X, sample.y, sample.validation)


def test_the_parameters_of_the_head_inside_are_checked() -> None:
    with pytest.raises(HeadError, match="epochs is 0"):
        make_head("softmax", {"epochs": 0, "calibrate": "temperature"}).check()
    with pytest.raises(ConfigError, match="did you mean 'alpha'"):
        make_head("ridge", {"alhpa": 1.0, "calibrate": "temperature"})
    with pytest.raises(ConfigError, match="did you mean 'calibrate'"):
        make_head("ridge", {"calibrat": "temperature"})


@pytest.mark.parametrize("none", [None, "none"])
def test_none_is_no_calibration_and_no_other_specification(none: Any) -> None:
    assert not isinstance(make_head("ridge", {"calibrate": none}), CalibratedHead)
    assert kind_of("ridge").full_params({"calibrate": none}) == kind_of("ridge").full_params({})
    assert kind_of("ridge").full_params({"calibrate": "temperature"})["calibrate"] == "temperature"


def test_a_saved_one_holds_its_temperature_and_its_head(sample: Any, tmp_path: Path) -> None:
    head = make_head("softmax", {"epochs": 2, "calibrate": "temperature"}).fit(sample.X, sample.y, sample.validation)
    save_head(head, tmp_path / "a.head")
    loaded = load_head(tmp_path / "a.head")
    assert loaded.temperature_ == head.temperature_
    assert loaded.history_ == head.history_
    assert np.array_equal(loaded.predict_proba(sample.X_val), head.predict_proba(sample.X_val))
