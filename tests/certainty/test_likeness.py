"""Images unlike those of the training are recognised by their features, from a small record."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featurebank.certainty.likeness import DIRECTIONS, STORED, Likeness


def clouds(random: np.random.Generator, count: int, width: int = 40, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Classes around centres of their own, with more spread in some directions than in others."""
    centres = np.random.default_rng(1).normal(size=(classes, width)) * 3
    labels = random.integers(0, classes, count)
    return centres[labels] + random.normal(size=(count, width)) * np.linspace(0.1, 2, width), labels


def test_it_recognises_other_images_and_few_of_the_same_kind() -> None:
    random = np.random.default_rng(0)
    (features, labels), (validation, _), (same, _) = (clouds(random, count) for count in (500, 400, 2000))
    likeness = Likeness.of(features, labels, validation)
    assert 0.001 < likeness.unlike(same).mean() < 0.03, "about one of a hundred"
    others = random.normal(size=(200, 40)) * 3
    flags, shares = likeness.compare(others)
    assert np.mean(flags) > 0.95
    assert max(shares) < 0.5
    assert np.mean(likeness.compare(same)[1]) == pytest.approx(0.5, abs=0.05), "shares are uniform for the same kind"
    np.testing.assert_allclose(likeness.distances(same * 1e30), likeness.distances(same), rtol=1e-3)


def test_with_few_validation_images_the_farthest_of_them_is_the_limit() -> None:
    random = np.random.default_rng(0)
    features, labels = clouds(random, 200)
    likeness = Likeness.of(features, labels, features[:20])
    assert likeness.limit == pytest.approx(likeness.distances(features[:20]).max(), rel=0.01)
    assert not likeness.unlike(features[:20]).any()


@pytest.mark.parametrize(("count", "width", "classes"), [(2, 1, 2), (3, 6, 3), (40, 3, 2), (60, 5000, 30)])
def test_any_shape(count: int, width: int, classes: int) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(count) % classes
    likeness = Likeness.of(random.normal(size=(count, width)), labels, random.normal(size=(10, width)))
    assert np.isfinite(likeness.distances(np.zeros((1, width)))).all()
    assert likeness.directions.size + likeness.centres.size <= max(STORED, width + classes)
    assert len(likeness.directions) <= DIRECTIONS
    again = Likeness.from_json(json.loads(json.dumps(likeness.to_json())))
    rows = random.normal(size=(5, width))
    np.testing.assert_allclose(again.distances(rows), likeness.distances(rows), rtol=1e-12)


def test_a_damaged_record_is_not_read() -> None:
    random = np.random.default_rng(0)
    value = Likeness.of(*clouds(random, 100), clouds(random, 50)[0]).to_json()
    arrays = value["arrays"]
    for change in (
        {"width": 10**9},
        {"width": 0},
        {"directions": 1000},
        {"classes": "4"},
        {"rest": 0.0},
        {"variances": [-1.0] * len(value["variances"])},
        {"arrays": {**arrays, "mean": "AAAA"}},
        {"arrays": {**arrays, "mean": "?"}},
        {"arrays": {**arrays, "mean": 5}},
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the message of a file is that it is damaged
            Likeness.from_json({**value, **change})
