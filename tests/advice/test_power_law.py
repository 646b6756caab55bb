"""Power laws are found again, and nothing else is made of noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.advice.power_law import fit_power_laws

SIZES = np.array([50, 70, 100, 140, 200, 280, 400])


@given(st.floats(0, 0.3), st.floats(0.05, 0.5), st.floats(0.1, 1.0))
def test_exact_curves_are_found(offset: float, drop: float, exponent: float) -> None:
    errors = offset + drop * (SIZES / 50) ** -exponent
    law = fit_power_laws(SIZES, errors[None], np.full(7, 1e-6))
    assert law.at(1600)[0] == pytest.approx(offset + drop * 32**-exponent, abs=0.01)


def test_the_spread_of_replicates_covers_what_noise_does() -> None:
    """Of 200 noisy curves, the interval of each holds the true value of its forecast about as often as it says."""
    random = np.random.default_rng(0)
    true, hits = 0.05 + 1.5 * SIZES**-0.6, 0
    for _ in range(200):
        seen = true + random.normal(0, 0.005, 7)
        replicates = seen + random.normal(0, 0.005, (200, 7))
        replicates[0] = seen
        low, high = np.quantile(fit_power_laws(SIZES, replicates, np.full(7, 0.005**2)).at(800), [0.025, 0.975])
        hits += bool(low <= 0.05 + 1.5 * 800**-0.6 <= high)
    assert hits / 200 >= 0.92


def test_errors_that_rise_give_a_flat_curve() -> None:
    law = fit_power_laws(SIZES, np.linspace(0.1, 0.2, 7)[None], np.full(7, 1e-4))
    assert law.factor[0] == 0
    assert law.at(10_000)[0] == pytest.approx(0.15, abs=0.001)
