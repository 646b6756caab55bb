"""Results of heads travel without the features that the receiver has as well."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from featurebank.bank import Bank
from featurebank.fitting.compact import from_bytes, to_bytes
from featurebank.fitting.data import TrainingData


def test_training_features_become_those_of_the_receiver(make_bank: Callable[..., Bank]) -> None:
    here, there = (TrainingData.of(make_bank(), "pooled") for _ in range(2))
    features = here.shared.X
    equal, part = features.copy(), features[:2]
    content = to_bytes({"same": features, "again": features[:], "equal": equal, "part": part}, here)
    received = from_bytes(content, there)
    assert received["same"] is received["again"] is there.shared.X
    assert received["equal"] is not there.shared.X
    np.testing.assert_array_equal(received["equal"], features)
    np.testing.assert_array_equal(received["part"], features[:2])


def test_empty_arrays_are_never_the_features(make_bank: Callable[..., Bank]) -> None:
    data = TrainingData.of(make_bank(), "pooled")
    assert from_bytes(to_bytes(np.empty((0, 3)), data), data).shape == (0, 3)
