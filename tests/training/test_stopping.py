"""When a training stops, and when heads that have stopped leave their program."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.training.stopping import EarlyStopping, Narrowing


@given(values=st.lists(st.floats(0, 10), min_size=1, max_size=30), patience=st.integers(1, 5))
def test_it_stops_after_so_many_epochs_without_a_better_one(values: list[float], patience: int) -> None:
    stopping, best = EarlyStopping(patience), 0
    for epoch, value in enumerate(values, 1):
        better, going_on = stopping.update(epoch, value)
        assert better == (value < min(values[: epoch - 1], default=np.inf))
        best = epoch if better else best
        assert going_on == (epoch - best < patience)
        if not going_on:
            break


@settings(max_examples=60)
@given(
    values=st.lists(st.floats(0, 2, width=16), min_size=1, max_size=12),
    patience=st.integers(1, 3),
    min_delta=st.sampled_from([0.0, 0.01, 0.1, 0.25]),
    monitor=st.sampled_from(["val_loss", "val_accuracy"]),
)
def test_it_is_keras_early_stopping(values: list[float], patience: int, min_delta: float, monitor: str) -> None:
    keras, model = pytest.importorskip("keras"), FakeModel()
    theirs = keras.callbacks.EarlyStopping(
        monitor, min_delta, patience, mode="min" if monitor == "val_loss" else "max", restore_best_weights=True
    )
    theirs.set_model(model)
    theirs.on_train_begin()
    ours, best, sign = EarlyStopping(patience, min_delta), 0, 1 if monitor == "val_loss" else -1
    for epoch, value in enumerate(values, 1):
        better, going_on = ours.update(epoch, sign * value)
        best = epoch if better else best
        theirs.on_epoch_end(epoch - 1, {monitor: value})
        assert theirs.best_epoch + 1 == best
        assert model.stop_training == (not going_on)
        if not going_on:
            break


class FakeModel:
    """As much of a model as Keras's callback needs."""

    stop_training = False

    def get_weights(self) -> list[np.ndarray]:
        return []


def test_a_checkpoint_of_an_earlier_version_goes_on() -> None:
    old = {"patience": 2, "min_delta": 0.1, "best": 0.92, "_lowest": 1.0, "_fell": 1}
    assert EarlyStopping.restored(old) == EarlyStopping(2, 0.1, 1.0, 1)
    assert EarlyStopping.restored(asdict(EarlyStopping(2, 0.1, 0.5, 3))) == EarlyStopping(2, 0.1, 0.5, 3)


def test_nan_is_never_better() -> None:
    assert EarlyStopping(patience=1).update(1, np.nan) == (False, False)


def test_heads_leave_once_more_is_wasted_than_a_compilation_costs() -> None:
    narrowing, active = Narrowing(), [True, False, False, False, False]
    assert narrowing.decide(active, 11.0) is None, "compiles: ten seconds more than the next"
    decisions = [narrowing.decide(active, 1.0) for _ in range(13)]
    assert decisions[:12] == [None] * 12
    assert decisions[12] == [0]
    assert Narrowing(wasted=1e9, _first=1.0).decide([False, False], 1.0) is None, "nobody is left to go on"
