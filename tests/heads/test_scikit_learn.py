"""scikit-learn's own checks of estimators, on every kind of head.

The programs of heads with epochs run step by step here: XLA would compile them for each of the checks' twenty shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from featurebank import make_head
from featurebank.heads.catalog import HEADS, kind_of
from featurebank.heads.layered import tail
from featurebank.heads.needs import VECTORS
from featurebank.training.programs import dense, dense_blocks, maps

pytestmark = pytest.mark.heavy

NEURAL: dict[str, Any] = {"epochs": 2, "learning_rate": 1.0, "optimizer": "sgd", "batch_size": 1024}
LINEAR = {**NEURAL, "standardize": True}
BOOSTED = {"n_estimators": 5, "max_depth": 3}
SMALL: dict[str, dict[str, Any]] = {
    "softmax": LINEAR,
    "mlp": {**NEURAL, "hidden_units": 8},
    "conv": {**NEURAL, "filters": 8, "padding": "same", "pool_size": 1},
    "attention_pool": LINEAR,
    "gem_pool": {**NEURAL, "epochs": 6, "learning_rate": 0.3, "optimizer": "adam"},
    "cam": LINEAR,
    "residual_stage": {**NEURAL, "filters": [4, 4, 8], "blocks": 1, "batch_norm_momentum": 0.5},
    "tail": {**NEURAL, "backbone": "tiny:network", "cut": "cut"},
    "random_forest": {"n_estimators": 5, "n_jobs": 1},
    "knn": {"n_jobs": 1},
    "xgboost": BOOSTED,
    "xgboost_pca": BOOSTED,
    "xgboost_coarse": BOOSTED,
}
"""Parameters that make a kind quick; the others are quick as they are."""

WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
BATCHES = "a weight scales an image's loss, a copy is a further image in the batches: other steps, as in Keras"
BINS = "a whole number of copies moves the quantiles that become XGBoost's bins, by rounding of the components"
EXPECTED: dict[str, dict[str, str]] = {
    **{kind: {WEIGHTS: BATCHES} for kind in HEADS if kind_of(kind).is_neural},
    "svm": {WEIGHTS: "libsvm stops at a tolerance of .001; scikit-learn's SVC has the same exception"},
    "random_forest": {WEIGHTS: "each tree draws images, not weights; scikit-learn's forest has the same exception"},
    "lda": {"check_sample_weights_shape": "features are constant within each class, and the error says so"},
    "knn": {"check_class_weight_classifiers": "neighbours cannot weight classes, and the error says so"},
    "nearest_mean": {"check_class_weight_classifiers": "the weight of a class does not move its mean"},
    "xgboost_pca": {
        WEIGHTS: BINS,
        "check_methods_subset_invariance": "XGBoost splits at values of training images; their components, computed "
        "beside other images, differ in the last bit, which is another side of the split",
    },
}  # fmt: skip
"""For each kind the checks that fail, and why they may."""


class OnRows:
    """Makes a head on maps one on rows, as the checks have them: each row is a map of one place."""

    def fit(self, X: Any, y: Any, validation_data: Any = None, sample_weight: Any = None) -> Any:
        return super().fit(self.as_maps(X), y, validation_data, sample_weight)  # type: ignore[misc]

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(super().predict_proba(self.as_maps(X)))  # type: ignore[misc]

    def as_maps(self, X: Any) -> Any:
        rows = X if scipy.sparse.issparse(X) else np.asarray(X)
        return rows[:, None, None, :] if rows.ndim == 2 and not scipy.sparse.issparse(rows) else rows


class OnPositiveRows(OnRows):
    """Makes a head on maps one on rows, whose numbers become positive, as in the maps of a network with ReLU."""

    def as_maps(self, X: Any) -> Any:
        maps = super().as_maps(X)
        if getattr(maps, "ndim", 0) != 4 or maps.dtype.kind not in "fiu":
            return maps
        with np.errstate(invalid="ignore"):
            return np.logaddexp(0, maps)


class OnSpreadRows(OnRows):
    """Makes a tail one on rows: their numbers are repeated until they fill a map, so that this class counts them."""

    def fit(self, X: Any, y: Any, validation_data: Any = None, sample_weight: Any = None) -> Any:
        super().fit(X, y, validation_data, sample_weight)
        self.n_features_in_ = np.asarray(X).shape[1]
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        if hasattr(self, "classes_"):
            validate_data(self, X, reset=False, ensure_all_finite=False)
        return super().predict_proba(X)

    def as_maps(self, X: Any) -> Any:
        maps = super().as_maps(X)
        if getattr(maps, "ndim", 0) != 4 or 0 in maps.shape:
            return maps
        return np.tile(maps.reshape(len(maps), -1), 98)[:, :98].reshape(-1, 7, 7, 2)


def head_of(kind: str) -> Any:
    head = make_head(kind, SMALL.get(kind, {}))
    if kind_of(kind).needs == VECTORS:
        return head
    name = f"{type(head).__name__}OnRows"
    how = {"tail": OnSpreadRows, "gem_pool": OnPositiveRows}.get(kind, OnRows)
    globals()[name] = type(name, (how, type(head)), {"__module__": __name__})  # pickle looks there
    return globals()[name](**head.get_params())


ESTIMATORS = {kind: head_of(kind) for kind in HEADS}


def expected_failures(estimator: Any) -> dict[str, str]:
    return EXPECTED.get(next(kind for kind, head in ESTIMATORS.items() if head is estimator), {})


@pytest.fixture(scope="module", autouse=True)
def not_compiled() -> Iterator[None]:
    programs = [
        getattr(module, name)
        for module in (dense, dense_blocks, maps)
        for name in ("epoch_program", "step_program", "evaluation_program", "keeping_program")
        if hasattr(module, name)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf, "function", plain_function)
        patch.setattr(tail, "load_network", cache(tail.load_network))
        for program in programs:
            program.cache_clear()
        yield
    for program in programs:
        program.cache_clear()


def plain_function(function: Any = None, **options: Any) -> Any:
    """What `tf.function` returns, without tracing."""
    if function is None:
        return plain_function
    function.get_concrete_function = lambda *arguments: function
    return function


LIKE_TAILS = "residual_stage"
"""It has `fit`, `predict_proba` and its parameters from `LayeredHead`, as tails do, and trains for longer."""


@parametrize_with_checks(
    [head for kind, head in ESTIMATORS.items() if kind != LIKE_TAILS], expected_failed_checks=expected_failures
)
def test_check(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([ESTIMATORS[LIKE_TAILS]], expected_failed_checks=expected_failures)
def test_check_of_another_layered_head(estimator: Any, check: Any) -> None:
    check(estimator)
