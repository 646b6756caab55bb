"""Labels as positions of classes, and the validation images whose classes a head knows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.errors import HeadInputError
from featurebank.heads.streamed import labels as module
from featurebank.heads.streamed.labels import encoded, known_vectors
from featurebank.heads.streamed.vectors import StoredVectors


@pytest.mark.parametrize("labels", [np.array([5, 2, 9, 2, 5]), np.array(["b", "a", "b"])], ids=str)
def test_labels_are_encoded_part_by_part(labels: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LABELS", 2)
    classes, positions = encoded(labels)
    expected = np.unique(labels, return_inverse=True)
    assert np.array_equal(classes, expected[0])
    assert np.array_equal(positions, expected[1])
    assert positions.dtype == np.int32


def test_known_images(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    X, y = bank.features()[:8], np.array([0, 3, 1, 7, 3, 1, 0, 9])
    stored, classes = StoredVectors(bank, "pooled", np.arange(8)), np.array([1, 3])
    for features in (X, stored):
        known = known_vectors(classes, features, y, 6)
        assert known is not None
        assert np.array_equal(np.asarray(known[0]), X[[1, 2, 4, 5]])
        assert known[1].tolist() == [1, 0, 1, 0]
        assert known_vectors(np.array([5]), features, y, 6) is None
        with pytest.raises(HeadInputError, match="features have 6 columns, the head was trained on 7"):
            known_vectors(classes, features, y, 7)
    everything = known_vectors(np.unique(y), stored, y, 6)
    assert everything is not None
    assert everything[0] is stored
