"""When a training stops, and when heads that have stopped leave their program."""

from __future__ import annotations

import numpy as np
from hypothesis import given
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


def test_a_small_fall_is_kept_but_does_not_count_for_patience() -> None:
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert [stopping.update(epoch, value) for epoch, value in enumerate((1.0, 0.95, 0.92), 1)] == [
        (True, True), (True, True), (True, False),
    ]  # fmt: skip


def test_nan_is_never_better() -> None:
    assert EarlyStopping(patience=1).update(1, np.nan) == (False, False)


def test_heads_leave_once_more_is_wasted_than_a_compilation_costs() -> None:
    narrowing, active = Narrowing(), [True, False, False, False, False]
    assert narrowing.decide(active, 11.0) is None, "compiles: ten seconds more than the next"
    decisions = [narrowing.decide(active, 1.0) for _ in range(13)]
    assert decisions[:12] == [None] * 12
    assert decisions[12] == [0]
    assert Narrowing(wasted=1e9, _first=1.0).decide([False, False], 1.0) is None, "nobody is left to go on"
