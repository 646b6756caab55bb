"""Points in the plane: determined by a seed, near where the features are near, and clear errors."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.charts.projection import TSNE_IMAGES, project
from featurebank.errors import ConfigError, MissingDependencyError, UnknownNameError

LABELS = np.arange(45) % 3
FEATURES = np.random.default_rng(0).normal(0, 0.3, (45, 60)).astype(np.float32) + 4 * np.eye(3, 60)[LABELS]


def separated(points: np.ndarray) -> bool:
    """Whether each point is nearer to the centre of its class than to the others."""
    centres = np.stack([points[label == LABELS].mean(axis=0) for label in range(3)])
    return bool((np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1) == LABELS).all())


@pytest.mark.parametrize("method", ["pca", "tsne", pytest.param("umap", marks=pytest.mark.slow)])
def test_classes_that_lie_apart_stay_apart_and_a_seed_determines_the_map(method: str) -> None:
    if method == "umap":
        pytest.importorskip("umap")  # not among the packages of tests: numba compiles for half a minute
    points = project(FEATURES, method, seed=3)
    assert points.dtype == np.float32
    assert points.shape == (45, 2)
    assert separated(points)
    np.testing.assert_array_equal(points, project(FEATURES, method, seed=3))


def test_pca_keeps_the_distances_of_points_in_a_plane() -> None:
    plane = (
        np.random.default_rng(1).normal(0, 1, (20, 2))
        @ np.linalg.qr(np.random.default_rng(2).normal(0, 1, (9, 2)))[0].T
    )
    points = project(plane)
    expected = np.linalg.norm(plane[:, None] - plane, axis=2)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points, axis=2), expected, atol=1e-5)


def test_maps_of_features_are_vectors() -> None:
    np.testing.assert_array_equal(project(FEATURES.reshape(45, 3, 4, 5)), project(FEATURES))


@settings(max_examples=10)
@given(st.integers(1, 5), st.integers(1, 3), st.sampled_from(["pca", "tsne"]), st.booleans())
def test_few_or_equal_images_can_be_drawn(count: int, width: int, method: str, equal: bool) -> None:
    features = np.ones((count, width)) if equal else np.arange(count * width, dtype=float).reshape(count, width)
    points = project(features, method)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_what_cannot_be_drawn_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=f"t-SNE draws up to {TSNE_IMAGES} images, and there are 5001: use method 'pca'"
    ):
        project(np.zeros((TSNE_IMAGES + 1, 2)), "tsne")
    with pytest.raises(ConfigError, match="there are no images to draw"):
        project(np.zeros((0, 8)))
    with pytest.raises(ConfigError, match="some values are not finite"):
        project([[np.nan, 1.0]])
    with pytest.raises(UnknownNameError, match="unknown method 'tsn': did you mean 'tsne'"):
        project(FEATURES, "tsn")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[umap\]'"):
        project(FEATURES, "umap")
