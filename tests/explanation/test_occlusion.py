"""Occlusion finds the part that a prediction depends on, for any function from images to probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from featurebank.explanation.occlusion import GRID, occlusion_map, patches


@pytest.mark.parametrize("size", [8, 14, 32, 224, 299])
def test_patches_cover_the_image_and_stay_inside(size: int) -> None:
    covered = np.zeros((size, size), int)
    for place in patches(size):
        assert covered[place].size > 0
        covered[place] += 1
    assert covered.min() >= 1
    assert len(patches(size)) == GRID * GRID


@pytest.mark.parametrize(("upper", "left"), [(0, 0), (0, 90), (60, 30)])
def test_the_heat_is_where_the_evidence_is(upper: int, left: int) -> None:
    square = np.full((100, 100, 3), 40, np.uint8)
    square[upper : upper + 10, left : left + 10] = 250
    sizes = []

    def predict(images: np.ndarray) -> np.ndarray:
        """White pixels speak for class 1."""
        sizes.append(len(images))
        share = (images[..., 0] > 200).mean(axis=(1, 2)) / 0.01
        return np.stack([1 - share, share], axis=1)

    passes: list[int] = []
    drops = occlusion_map(square, 1, predict, 16, passes.append)
    assert drops.shape == (GRID, GRID)
    assert drops[upper // 10, left // 10] == pytest.approx(1)
    assert drops.min() == 0
    assert (drops > 0).sum() <= 9
    assert sum(passes) == sum(sizes) - 1 == GRID * GRID
    assert max(sizes) == 16
    assert occlusion_map(square, 0, predict, 64)[upper // 10, left // 10] == pytest.approx(-1)


def test_the_image_itself_is_not_changed() -> None:
    square = np.zeros((20, 20, 3), np.uint8)
    occlusion_map(square, 0, lambda images: np.ones((len(images), 1)), 8)
    assert not square.any()
