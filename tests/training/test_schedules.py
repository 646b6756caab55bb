"""Learning rates by step; `tests/heads/neural/test_together.py` compares trainings under each schedule with Keras's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.training.schedules import SCHEDULES, Plateau, Schedule

rates = st.floats(1e-6, 10)


@given(
    kind=st.sampled_from(SCHEDULES),
    rate=rates,
    decay=st.floats(0.01, 1),
    warmup=st.floats(0, 3),
    steps=st.integers(1, 50),
)
def test_no_rate_is_above_the_first_nor_below_zero(
    kind: str, rate: float, decay: float, warmup: float, steps: int
) -> None:
    schedule = Schedule(rate, kind, decay, warmup, epochs=4)
    found = np.concatenate([schedule.rates(epoch, steps) for epoch in range(1, 5)])
    assert found.shape == (4 * steps,)
    assert (found >= 0).all()
    assert (found <= rate * (1 + 1e-12)).all()
    warm = np.arange(len(found)) < warmup * steps
    assert (np.diff(found[warm]) > 0).all()
    assert (np.diff(found[~warm]) <= rate * 1e-12).all()


def test_cosine_begins_with_the_rate_and_ends_near_zero() -> None:
    found = np.concatenate([Schedule(0.5, "cosine", epochs=10).rates(epoch, 100) for epoch in range(1, 11)])
    assert (found[0], found[500]) == (0.5, pytest.approx(0.25))
    assert found[-1] < 1e-5


def test_a_plateau_lowers_the_rate_down_to_its_floor() -> None:
    plateau, rate, found = Plateau(factor=0.1, patience=2, floor=0.005), 1.0, []
    for value in (3.0, 2.0, 2.0, 2.0, 2.5, 2.5, 2.0, 2.0, 1.0, 1.5):
        rate = plateau.lowered(rate, value)
        found.append(rate)
    assert found == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.005, 0.005, 0.005])
