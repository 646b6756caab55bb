"""The XGBoost head: early stopping, principal components, and what XGBoost refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import xgboost

from featurebank import make_head
from featurebank.errors import HeadError
from featurebank.heads.boosted import XGBoostHead
from featurebank.heads.exact.shared import Shared
from featurebank.system.progress import Reporter, shown_by

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
    few, all_there_are = (XGBoostHead(n_estimators=2, pca=pca).fit(hard.X, hard.y) for pca in (91, 90))
    np.testing.assert_array_equal(few.predict_proba(hard.X), all_there_are.predict_proba(hard.X))


@pytest.mark.parametrize(
    "options", [{"learning_rate": -1.0}, {"subsample": 2.0}, {"max_bin": 1}, {"max_depth": -3}], ids=str
)
def test_parameters_out_of_range(hard: Any, options: dict[str, Any]) -> None:
    (name, value) = next(iter(options.items()))
    with pytest.raises(HeadError, match=rf"^XGBoostHead: {name} is {value!r}, expected a (whole )?number"):
        XGBoostHead(**options).fit(hard.X, hard.y)


# ---------------------------------------------------------------- sharing


@pytest.mark.parametrize("pca", [None, 4])
def test_heads_that_share_are_the_same_heads(hard: Any, pca: int | None) -> None:
    settings = [{"max_depth": depth, "max_bin": bins} for bins in (16, 32) for depth in (2, 3)]
    shared = Shared(hard.X, hard.y)
    for options in settings:
        alone, sharing = (XGBoostHead(n_estimators=8, pca=pca, **options) for _ in range(2))
        alone.fit(hard.X, hard.y, hard.validation)
        sharing.fit_shared(shared, hard.validation)
        assert np.array_equal(alone.predict_proba(hard.X_val), sharing.predict_proba(hard.X_val))


def test_features_are_put_into_bins_once_for_each_number_of_bins(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, bool]] = []
    real = xgboost.QuantileDMatrix

    def count(*args: Any, max_bin: int, ref: Any = None, **options: Any) -> Any:
        made.append((max_bin, ref is not None))
        return real(*args, max_bin=max_bin, ref=ref, **options)

    monkeypatch.setattr(xgboost, "QuantileDMatrix", count)
    shared = Shared(hard.X, hard.y)
    heads = [XGBoostHead(n_estimators=4, max_depth=d, max_bin=b) for b in (16, 32) for d in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda head: head.fit_shared(shared, hard.validation), heads))
    assert sorted(made) == [(16, False), (16, True), (32, False), (32, True)]
    for head in heads:
        alone = XGBoostHead(**head.get_params()).fit(hard.X, hard.y, hard.validation)
        assert np.array_equal(alone.predict_proba(hard.X_val), head.predict_proba(hard.X_val))


def test_other_validation_images_are_not_taken_for_the_first(hard: Any) -> None:
    shared = Shared(hard.X, hard.y)
    wrong = hard.X_val, np.roll(hard.y_val, 1)
    for data in (wrong, hard.validation, (wrong[0].copy(), wrong[1].copy()), None):
        head = XGBoostHead(**QUICK).fit_shared(shared, data)
        alone = XGBoostHead(**QUICK).fit(hard.X, hard.y, data)
        assert np.array_equal(alone.predict_proba(hard.X_val), head.predict_proba(hard.X_val))


def test_the_presets_are_not_the_raw_one() -> None:
    raw, pca, coarse = (make_head(kind) for kind in ("xgboost", "xgboost_pca", "xgboost_coarse"))
    assert (raw.pca, raw.max_bin, raw.colsample_bynode) == (None, 256, 1.0)
    assert (pca.pca, pca.max_bin) == (128, 64)
    assert (coarse.pca, coarse.max_bin, coarse.colsample_bynode) == (None, 32, 0.1)


def test_rounds_are_shown_and_forgotten(hard: Any) -> None:
    shown: list[str] = []

    class Listener(Reporter):
        def detail(self, text: str) -> None:
            shown.append(text)

    with shown_by(Listener()):
        XGBoostHead(n_estimators=3, max_depth=2, max_bin=32).fit(hard.X, hard.y)
    assert shown == ["round 1 of 3", "round 2 of 3", "round 3 of 3", ""]
