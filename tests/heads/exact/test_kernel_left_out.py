"""Leaving one image out in closed form is what fitting without it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.errors import HeadInputError
from featurebank.heads.exact.kernel_left_out import kernel_left_out, linear_left_out, nystroem, rbf_distances


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


def test_with_all_images_as_landmarks_nothing_is_approximated() -> None:
    random = np.random.default_rng(0)
    features, positions = random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 3, 30)
    distances, gamma = rbf_distances(features)
    inputs, exact = nystroem(features, 99), kernel_left_out(np.exp(-gamma * distances), positions, 3)
    assert inputs @ inputs.T == pytest.approx(np.exp(-gamma * distances), abs=1e-8)
    linear = linear_left_out(inputs, positions, 3)
    assert linear.logits == pytest.approx(exact.logits, abs=1e-6)
    assert linear.predict(inputs) == pytest.approx(exact.predict(np.exp(-gamma * distances)), abs=1e-6)


def test_leaving_out_rows_is_fitting_without_them() -> None:
    random = np.random.default_rng(1)
    inputs, positions = random.normal(size=(12, 3)), np.arange(12) % 2
    result = linear_left_out(inputs, positions, 2, 0.5)
    for row in range(12):
        others = np.delete(np.arange(12), row)
        fitted = linear_left_out(inputs[others], positions[others], 2, 0.5)
        assert result.logits[row] == pytest.approx(fitted.predict(inputs[row]), abs=1e-8)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_leaving_out_a_group_is_fitting_without_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    features, positions = random.normal(size=(12, 3)), random.integers(0, 3, 12)
    groups = np.concatenate([np.arange(4), random.integers(0, 4, 8)])
    kernel = np.exp(-((features[:, None] - features) ** 2).sum(axis=2))
    result = kernel_left_out(kernel, positions, 3, 0.3, groups=groups)
    linear = linear_left_out(features, positions, 3, 0.3, groups=groups)
    for group in range(4):
        own, others = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
        fitted = kernel_left_out(kernel[np.ix_(others, others)], positions[others], 3, 0.3)
        assert result.logits[own] == pytest.approx(fitted.predict(kernel[np.ix_(own, others)]), abs=1e-7)
        plain = linear_left_out(features[others], positions[others], 3, 0.3)
        assert linear.logits[own] == pytest.approx(plain.predict(features[own]), abs=1e-7)


def test_one_group_is_refused() -> None:
    with pytest.raises(HeadInputError, match="all 4 images are of one group"):
        kernel_left_out(np.eye(4), np.array([0, 0, 1, 1]), 2, groups=np.ones(4))
