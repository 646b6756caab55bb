"""The rules of a race: nobody leaves who cannot be told apart from the best, and parts grow within their share."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from featurebank.racing.halving import distances, finalists, first_part, next_part, staying


def losses(means: list[float], count: int = 200, spread: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(0)
    common = rng.normal(size=count)
    return np.stack([mean + common + spread * rng.normal(size=count) for mean in means])


def test_clearly_worse_candidates_leave() -> None:
    assert staying(losses([0.3, 0.0, 0.9, 0.25])) == [1]


def test_candidates_that_are_nearly_equal_stay() -> None:
    equal = np.tile(losses([0.0]), (5, 1))
    assert staying(equal) == [0, 1, 2, 3, 4]
    assert staying(losses([0.0, 0.005, 1.0, 1.2], spread=0.5))[:2] in ([0, 1], [1, 0])


def test_the_worse_half_needs_less_to_leave() -> None:
    steps = np.linspace(0, 0.05, 6).tolist()
    apart, stay = distances(losses(steps)), staying(losses(steps))
    order = np.argsort(losses(steps).mean(axis=1))
    assert stay[0] == order[0]
    assert all(apart[place] <= 1.645 for place in stay)
    assert all(apart[place] <= 0.675 for place in stay if place in order[3:])


def test_groups_make_differences_less_certain() -> None:
    rows = np.repeat(losses([0.0, 0.1], 20), 10, axis=1)
    groups = np.repeat(np.arange(20), 10)
    assert distances(rows, groups).max() < 0.5 * distances(rows).max()


def test_a_candidate_that_is_worse_by_the_same_amount_everywhere_is_infinitely_worse() -> None:
    rows = np.stack([np.zeros(10), np.full(10, 0.1)])
    assert distances(rows).tolist() == [0, np.inf]


@given(st.integers(20, 10**7), st.integers(2, 1000), st.integers(2, 40), st.floats(0.01, 1))
def test_parts_grow_and_end_within_their_share(images: int, classes: int, staying: int, share: float) -> None:
    size = first_part(images, classes)
    allowed, used = share * images * staying, size * staying
    while (larger := next_part(size, staying, allowed - used, images)) is not None:
        assert size < larger <= images
        assert larger >= min(200, images), "too few images to tell equals apart"
        used += (larger - size) * staying
        size = larger
    assert used <= max(allowed, first_part(images, classes) * staying)


def test_nobody_races_alone() -> None:
    assert next_part(100, 1, 1e9, 10**6) is None


def test_finalists_fit_into_the_time() -> None:
    assert finalists([2, 0, 1], [10.0, 1.0, 50.0], 5.0) == [2], "the best is extracted, whatever it takes"
    assert finalists([0, 1, 2], [10.0, 30.0, 5.0], 20.0) == [0, 2]
