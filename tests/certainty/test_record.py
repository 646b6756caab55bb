"""What a model file stores about its doubts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from unsure_models import simulated

from featurebank.certainty.likeness import Likeness
from featurebank.certainty.record import Certainty


def test_a_record_is_read_as_it_was_written_and_is_small() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(300, 640)).astype(np.float32)
    likeness = Likeness.of(features, np.arange(300) % 150, features[:100])
    certainty = Certainty.of(
        *simulated(random, 5000), likeness=likeness, operation="avg", uses=("to choose among 9 runs",)
    )
    text = json.dumps(certainty.to_json())
    assert len(text) < 1_000_000
    again = Certainty.from_json(json.loads(text))
    assert again.basis == "5000 validation images, which were also used to choose among 9 runs"
    assert (again.operation, again.table.limit(0.9)) == ("avg", certainty.table.limit(0.9))
    assert again.likeness is not None


def test_groups_are_counted_in_words() -> None:
    probabilities, labels = simulated(np.random.default_rng(0), 30)
    assert Certainty.of(probabilities, labels, groups=np.arange(30) // 3).basis == "30 validation images in 10 groups"


def test_a_damaged_record_is_not_read() -> None:
    value = Certainty.of(*simulated(np.random.default_rng(0), 30)).to_json()
    for change in (
        {"images": 3},
        {"images": "30"},
        {"uses": "all"},
        {"uses": [1]},
        {"operation": None},
        {"likeness": 5},
    ):
        with pytest.raises((ValueError, TypeError)):
            Certainty.from_json({**value, **change})
