"""The weights of a bank's training images: who uses them, who cannot, and what weights of 0 and 1 mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fitted_heads import fit

from featurebank import Bank
from featurebank.errors import DatasetError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.fitting.loaded import reference_data
from featurebank.fitting.weights import training_images


@pytest.fixture
def weighted(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], Bank]:
    """Gives a bank weights of its images."""
    bank = make_bank()

    def made(weights: np.ndarray) -> Bank:
        monkeypatch.setattr(Bank, "weight_column", "w")
        monkeypatch.setattr(Bank, "_weights", lambda _: weights)
        return bank

    return made


def weights_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).choice([0.0, 0.5, 1.0, 3.0], count)


def test_images_of_weight_0_are_left_out_and_of_weight_1_are_plain(weighted: Any, make_bank: Any) -> None:
    plain = make_bank("plain")
    positions = np.flatnonzero(plain.splits() == "train")
    bank = weighted(weights := weights_of(len(plain)))
    some = training_images(bank, positions)
    assert some.positions.tolist() == positions[weights[positions] > 0].tolist()
    assert some.weights.tolist() == weights[some.positions].tolist()
    assert training_images(bank, positions, 5).positions.tolist() == some.positions[:5].tolist()
    assert training_images(weighted(np.ones(len(plain))), positions).weights is None
    assert training_images(weighted((weights > 0) * 1.0), positions).weights is None


def test_training_data_have_the_weights(weighted: Any, make_bank: Any) -> None:
    bank = weighted(weights := weights_of(len(make_bank("plain"))))
    data, fold = TrainingData.of(bank, "pooled"), FoldedImages(bank, "pooled").data(Fold(1, 3))
    assert sorted(data.weights) == sorted(w for w in weights[bank.splits() == "train"] if w)
    assert len(fold.weights) == len(fold.y) == len(fold.X)
    assert len(fold.y) + len(fold.y_val) < len(bank.labels("train")) + len(bank.labels("val"))
    for own in (data, fold):
        with reference_data(own.reference) as again:
            assert again.weights.tolist() == own.weights.tolist()
        with reference_data(own.unweighted.reference) as again:
            assert again.weights is None


def test_who_cannot_weight_images_says_what_to_do(weighted: Any, make_bank: Any) -> None:
    bank = weighted(weights_of(len(make_bank("plain"))))
    knn, ridge, ignoring = fit(bank, ("knn", {}), ("ridge", {}), ("knn", {"sample_weight": "ignore"}))
    assert knn.failure == (
        "head 'knn' cannot weight images, and these have weights: leave it out, or set its parameter "
        "sample_weight=ignore to count all images alike"
    )
    assert (ridge.failure, ignoring.failure) == (None, None)


def test_weights_can_be_ignored(weighted: Any, make_bank: Any) -> None:
    bank = weighted(weights := weights_of(len(make_bank("plain"))))
    using, ignoring = fit(bank, ("ridge", {}), ("ridge", {"sample_weight": "ignore"}))
    (plain,) = fit(weighted((weights > 0) * 1.0), ("ridge", {}))
    assert np.array_equal(ignoring.head.weights_, plain.head.weights_)
    assert not np.array_equal(using.head.weights_, plain.head.weights_)


def test_nothing_to_train_on(weighted: Any, make_bank: Any) -> None:
    bank = weighted(np.zeros(len(make_bank("plain"))))
    with pytest.raises(DatasetError, match="all training images have the weight 0 in the column 'w'; give some"):
        TrainingData.of(bank, "pooled")
