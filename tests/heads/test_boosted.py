"""The XGBoost head: early stopping, principal components, and what XGBoost refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

from featurebank.errors import HeadError
from featurebank.heads.boosted import XGBoostHead

QUICK: dict[str, Any] = {"n_estimators": 40, "max_depth": 2, "max_bin": 32}


def test_it_is_what_xgboost_trains(hard: Any) -> None:
    head = XGBoostHead(n_estimators=5, max_depth=2, max_bin=32).fit(hard.X, hard.y)
    labels = np.searchsorted([2, 5, 9], hard.y)
    options = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2, "max_bin": 32, "seed": 0, "eta": 0.3}
    theirs = xgboost.train(options, xgboost.QuantileDMatrix(hard.X, labels, max_bin=32), 5).inplace_predict(hard.X_val)
    np.testing.assert_allclose(head.predict_proba(hard.X_val), theirs, atol=1e-5)


def test_the_trees_after_the_best_round_are_dropped(hard: Any) -> None:
    head = XGBoostHead(**QUICK, early_stopping_rounds=3).fit(hard.X, hard.y, hard.validation)
    everything = XGBoostHead(**QUICK).fit(hard.X, hard.y)
    rounds = head.booster_.num_boosted_rounds()
    assert rounds < everything.booster_.num_boosted_rounds() == 40
    losses = [
        -np.log(p[np.arange(len(hard.y_val)), np.searchsorted(head.classes_, hard.y_val)]).mean()
        for p in (everything.booster_.inplace_predict(hard.X_val, iteration_range=(0, n)) for n in range(1, rounds + 4))
    ]
    assert int(np.argmin(losses)) + 1 == rounds
    best = everything.booster_.inplace_predict(hard.X_val, iteration_range=(0, rounds))
    np.testing.assert_allclose(head.predict_proba(hard.X_val), best, atol=1e-6)


def test_unknown_validation_labels_do_not_count(hard: Any) -> None:
    y_val = hard.y_val.copy()
    y_val[:10] = 77
    known = XGBoostHead(**QUICK).fit(hard.X, hard.y, (hard.X_val[10:], hard.y_val[10:]))
    mixed = XGBoostHead(**QUICK).fit(hard.X, hard.y, (hard.X_val, y_val))
    assert np.array_equal(known.predict_proba(hard.X_val), mixed.predict_proba(hard.X_val))


def test_principal_components_are_another_model(hard: Any) -> None:
    raw, reduced = (XGBoostHead(n_estimators=5, pca=pca).fit(hard.X, hard.y) for pca in (None, 4))
    assert reduced.booster_.num_features() == 4
    assert not np.allclose(raw.predict_proba(hard.X_val), reduced.predict_proba(hard.X_val))


def test_components_that_are_not_there(hard: Any) -> None:
    with pytest.raises(HeadError, match="pca is 91, expected 1 to 90"):
        XGBoostHead(pca=91).fit(hard.X, hard.y)


@pytest.mark.parametrize(
    "options", [{"learning_rate": -1.0}, {"subsample": 2.0}, {"max_bin": 1}, {"max_depth": -3}], ids=str
)
def test_what_xgboost_refuses_is_one_line(hard: Any, options: dict[str, Any]) -> None:
    with pytest.raises(HeadError, match=r"XGBoost refused: ") as caught:
        XGBoostHead(**{"n_estimators": 2, **options}).fit(hard.X, hard.y)
    assert "\n" not in str(caught.value)
    assert next(iter(options)) in str(caught.value)
