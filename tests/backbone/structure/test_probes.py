"""What probes see: where each patch goes, and how tokens become one vector, written in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.backbone.structure.probes import grid_of_image, pooling_of, prefix_of

GENERATOR = np.random.default_rng(0)
ROWS, WIDTH = 11, 6


def embedding(grid: tuple[int, int], prefix: int, order: Callable[[np.ndarray], np.ndarray] | None = None):
    """Returns a function from maps of three channels to tokens of five features."""
    kernel = GENERATOR.normal(size=(3, 5)).astype(np.float32)
    first = GENERATOR.normal(size=(1, prefix, 5)).astype(np.float32)
    positions = GENERATOR.normal(size=(1, prefix + grid[0] * grid[1], 5)).astype(np.float32)

    def embed(maps: np.ndarray) -> np.ndarray:
        maps = maps.reshape(len(maps), *grid, 3)
        rows = (order(maps) if order else maps).reshape(len(maps), -1, 3) @ kernel
        return np.concatenate([first.repeat(len(maps), axis=0), rows], axis=1) + positions

    return embed


@settings(max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 5))
def test_prefix(height: int, width: int, prefix: int) -> None:
    assert prefix_of(embedding((height, width), prefix), (height, width), 3) == prefix


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tokens: tokens[:, ::-1],  # the class token is last
        lambda tokens: tokens[:, [0, 1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12]],  # column by column
        lambda tokens: tokens + tokens.mean(axis=1, keepdims=True),  # the patches are mixed
        lambda tokens: tokens[:, 3:],
        lambda tokens: np.concatenate([tokens, tokens], 1)[:, :20],
    ],
)  # fmt: skip
def test_tokens_that_are_no_grid(wrong: Callable[[np.ndarray], np.ndarray]) -> None:
    embed = embedding((4, 3), 1)
    assert prefix_of(lambda maps: wrong(embed(maps)), (4, 3), 3) is None


@pytest.mark.parametrize(("side", "number", "prefix"), [(12, 4, 1), (12, 3, 0), (8, 2, 5)])
def test_grids_of_images(side: int, number: int, prefix: int) -> None:
    patch = side // number
    embed = embedding((number, number), prefix)

    def of_images(images: np.ndarray) -> np.ndarray:
        blocks = images.reshape(len(images), number, patch, number, patch, 3)
        return embed(blocks.mean(axis=(2, 4)))

    assert grid_of_image(of_images, side, prefix + number**2) == ((number, number), prefix)
    assert grid_of_image(lambda images: of_images(images)[:, ::-1], side, prefix + number**2) is None


def normalized(vectors: np.ndarray) -> np.ndarray:
    return (vectors - vectors.mean(-1, keepdims=True)) / vectors.std(-1, keepdims=True)


def attention(tokens: np.ndarray) -> np.ndarray:
    scores = np.exp(tokens @ np.ones(WIDTH, np.float32))[:, :, None]
    return (tokens * scores / scores.sum(1, keepdims=True)).sum(1)


@pytest.mark.parametrize(
    ("pool", "prefix", "expected"),
    [
        (lambda x: x[:, 0], 1, "class token"),
        (lambda x: normalized(x[:, 0]) @ np.ones((WIDTH, 3)), 0, "class token"),
        (lambda x: x.mean(1), 0, "mean of patches"),
        (lambda x: x[:, 2:].mean(1), 2, "mean of patches"),
        (lambda x: normalized(x[:, 1:].mean(1)), 1, "normalised mean of patches"),
        (lambda x: x.mean(1), 1, "mean of tokens"),
        (lambda x: normalized(x.mean(1)), 1, "normalised mean of tokens"),
        (lambda x: np.concatenate([x[:, 0], x[:, 1:].mean(1)], 1), 1, "class token and mean of patches"),
        (lambda x: x[:, 1:].max(1), 1, "maximum of patches"),
        (lambda x: x.reshape(len(x), -1), 1, "all tokens"),
        (attention, 1, ""),
        (lambda x: x[:, 3], 1, ""),
        (lambda x: normalized(x).mean(1), 0, ""),
    ],
)
def test_poolings(pool: Callable[[np.ndarray], np.ndarray], prefix: int, expected: str) -> None:
    assert pooling_of(pool, ROWS, WIDTH, prefix) == expected
