from __future__ import annotations

import numpy as np
import pytest
from vits import pixels, vit

from featurebank.backbone.weights.random import bell, fill_with_random


def test_the_bits_are_fixed() -> None:
    # These are the definition of the scheme: if they change, SCHEME has to change.
    words = np.random.Philox(key=np.array([5, 2], dtype=np.uint64)).random_raw(2)
    parts = [[(int(word) >> shift) & 0xFFFF for shift in (0, 16, 32, 48)] for word in words]
    expected = [(sum(four) - 131070) / (4 * (65536**2 - 1) / 12) ** 0.5 for four in parts]
    assert bell(5, 2, 2).tolist() == np.float32(expected).tolist()


def test_the_numbers_look_normal() -> None:
    numbers = bell(0, 0, 200_000).astype(np.float64)
    assert abs(numbers.mean()) < 0.01
    assert abs(numbers.var() - 1) < 0.01
    assert abs((np.abs(numbers) < 1).mean() - 0.67) < 0.01


def test_long_arrays_begin_as_short_ones() -> None:
    long = bell(1, 1, (1 << 20) + 3)
    assert long.size == (1 << 20) + 3
    np.testing.assert_array_equal(long[:100], bell(1, 1, 100))
    assert np.unique(long[-3:]).size == 3


def test_seed_and_index_matter() -> None:
    streams = {bell(seed, index, 4).tobytes() for seed in (0, 1, 2**64 - 1) for index in (0, 1)}
    assert len(streams) == 6


@pytest.mark.parametrize(
    ("style", "depth"),
    [
        ("ops", 2), ("class", 2),
        *(pytest.param(style, 24, marks=pytest.mark.slow) for style in ("pre", "post", "ops", "class", "einsum")),
    ],
)  # fmt: skip
def test_transformers_of_any_depth_fit_float16(style: str, depth: int) -> None:
    model = vit(depth=depth, style=style, prefix=2, pooling="attention", classes=0)
    fill_with_random(model, 3, is_transformer=True)
    outputs = model(pixels(3) / 127.5 - 1, training=False).numpy()
    assert np.isfinite(outputs).all()
    assert 1e-3 < np.abs(outputs).max() < 1e3
    assert outputs.std(axis=0).mean() > 1e-3, "images are told apart"
    again = vit(depth=depth, style=style, prefix=2, pooling="attention", classes=0, seed=9)
    fill_with_random(again, 3, is_transformer=True)
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
