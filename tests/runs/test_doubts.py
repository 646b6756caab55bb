"""Doubts of a run are measured on images that its head was not trained on, and on test images only once opened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from featurebank import evaluate_test, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError


def test_validation_by_cross_fitting_and_test_once_it_is_open(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 200, 400), noise=3.0)
    (run,) = train_heads(bank, [{"kind": "nearest_mean"}])
    by_folds = run.certainty()
    assert (by_folds.images, by_folds.source) == (200, "by cross-fitting on validation images")
    assert abs(by_folds.sets[1].coverage - 0.9) < 0.03
    assert by_folds.curve[-1][1] == pytest.approx(1 - run.metrics["val"]["accuracy"])
    with pytest.raises(ConfigError, match="the test images are closed"):
        run.certainty("test")
    with pytest.raises(ConfigError, match="expected val or test, got train"):
        run.certainty("train")
    tested = evaluate_test(bank, run).certainty("test", coverages=(0.9,), errors=(0.3,))
    assert (tested.images, tested.source) == (400, "of the test split")
    assert abs(tested.sets[0].coverage - 0.9) < 0.06
    assert run.plot_certainty().to_dict()["layer"][0]["mark"]["type"] == "line"
    assert np.isfinite(tested.sets[0].size)


def test_images_of_one_group_count_as_one(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make_bank(splits=(60, 200, 0), noise=3.0)
    (run,) = train_heads(bank, [{"kind": "nearest_mean"}])
    alone = run.certainty(coverages=(0.9,)).sets[0]
    codes = np.arange(len(bank)) // 4
    monkeypatch.setattr(
        Bank, "groups", lambda self, split=None: codes if split is None else codes[self.splits() == split]
    )
    grouped = run.certainty(coverages=(0.9,)).sets[0]
    assert np.diff(grouped.interval) > np.diff(alone.interval), "what groups have in common is known less well"
    assert abs(grouped.coverage - 0.9) < 0.06
