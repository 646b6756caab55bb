"""Leaving one image out in closed form is what fitting without it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.errors import HeadInputError
from featurebank.heads.exact.kernel_left_out import kernel_left_out, rbf_distances


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(2, 4), st.sampled_from([0.03, 1.0]))
def test_leaving_out_is_fitting_without(seed: int, classes: int, alpha: float) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(9, 3)).astype(np.float32)
    positions = random.integers(0, classes, 9)
    distances, gamma = rbf_distances(features)
    kernel = np.exp(-gamma * distances)
    result = kernel_left_out(kernel, positions, classes, alpha)
    for row in range(9):
        others = np.delete(np.arange(9), row)
        fitted = kernel_left_out(kernel[np.ix_(others, others)], positions[others], classes, alpha)
        assert result.logits[row] == pytest.approx(fitted.predict(kernel[row, others]), abs=1e-8)


def test_the_fit_is_that_of_the_normal_equations() -> None:
    random = np.random.default_rng(0)
    features, positions = random.normal(size=(12, 3)), np.arange(12) % 3
    kernel = features @ features.T
    result = kernel_left_out(kernel, positions, 3, 0.5)
    targets = 2 * np.eye(3)[positions] - 1
    assert (kernel + 0.5 * np.eye(12)) @ result.weights + result.bias == pytest.approx(targets)
    assert result.weights.sum(axis=0) == pytest.approx(0), "the intercept is not penalised"


def test_one_image_and_singular_kernels_are_refused() -> None:
    with pytest.raises(HeadInputError, match="expected two at least"):
        kernel_left_out(np.ones((1, 1)), np.zeros(1, int), 2)
    with pytest.raises(HeadInputError, match="singular"):
        kernel_left_out(np.ones((3, 3)), np.arange(3), 3, -1.0)
