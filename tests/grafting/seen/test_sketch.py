"""A sketch of a set of images knows all of a small set, and a random sample of a large one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurebank.bank.index import first_bits
from featurebank.grafting.seen.sketch import MOST, Sketch
from featurebank.system import digest


def digests_of(numbers: range) -> np.ndarray:
    return np.array([digest.of_bytes(b"%d" % number) for number in numbers], "S32")


def test_a_small_set_is_known_whole() -> None:
    images = digests_of(range(MOST))
    sketch = Sketch.of(np.concatenate([images, images[:7]]))
    assert sketch.images == MOST
    words = first_bits(np.concatenate([images, digests_of(range(MOST, 2 * MOST))]))
    assert sketch.contains(words).tolist() == [True] * MOST + [False] * MOST
    assert (words <= sketch.limit).all()


def test_of_a_large_set_a_random_sample_tells_the_share() -> None:
    sketch = Sketch.of(digests_of(range(40_000)))
    assert (sketch.images, len(sketch.words)) == (40_000, MOST)
    words = first_bits(digests_of(range(30_000, 50_000)))
    known = words[words <= sketch.limit]
    assert len(known) == pytest.approx(20_000 * MOST / 40_000, rel=0.1)
    inside = np.isin(known, words[:10_000])
    np.testing.assert_array_equal(sketch.contains(known), inside)
    assert sketch.contains(known).mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(known)))


@pytest.mark.parametrize("count", [0, 1, MOST + 1])
def test_it_is_read_as_it_was_written(count: int) -> None:
    sketch = Sketch.of(digests_of(range(count)))
    again = Sketch.from_json(sketch.to_json())
    assert again.images == count
    np.testing.assert_array_equal(again.words, sketch.words)
    assert again.limit == sketch.limit


@pytest.mark.parametrize(
    "change",
    [
        {"images": -1}, {"images": 3}, {"images": 10**99}, {"images": True}, {"images": 2.0}, {"images": MOST + 1},
        {"digests": None}, {"digests": 5}, {"digests": "AAAA"}, {"digests": "AAAAAAAAAA" * 10**6}, {"digests": "ä" * 8},
        {"digests": "//////////8AAAAAAAAAAA=="}, {"digests": "A" * 22}, {"digests": "AAAAAAAAAAAAAAAAAAAAAA=="},
    ],
)  # fmt: skip
def test_what_a_stranger_wrote_is_refused(change: dict[str, Any]) -> None:
    value = Sketch.of(digests_of(range(2))).to_json()
    with pytest.raises((ValueError, TypeError)):
        Sketch.from_json({**value, **change})
