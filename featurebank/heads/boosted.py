"""The XGBoost head: gradient-boosted trees on the features or on their principal components."""

from __future__ import annotations

import re
from typing import Any, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.base import Head
from featurebank.heads.estimators import fit_transforms, transform
from featurebank.heads.features import checked_features, known_rows
from featurebank.heads.shared import Shared
from featurebank.runtime import threads


class XGBoostHead(Head):
    """Boosted trees with histogram splits, stopped early on validation data where there is any.

    Args:
        n_estimators: rounds of boosting at most.
        max_depth: of a tree.
        learning_rate: shrinkage of each tree.
        max_bin: histogram bins a feature.
        subsample: share of the images that each tree sees.
        colsample_bynode: share of the features that each split may choose from.
        reg_lambda: L2 penalty of the leaves.
        pca: boost on so many principal components, which is another and much faster model; None is the raw one.
        early_stopping_rounds: rounds without a better validation loss before it stops.
        random_state: seed.
    """

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_depth: int = 6,
        learning_rate: float = 0.3,
        max_bin: int = 256,
        subsample: float = 1.0,
        colsample_bynode: float = 1.0,
        reg_lambda: float = 1.0,
        pca: int | None = None,
        early_stopping_rounds: int = 10,
        random_state: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.max_bin = max_bin
        self.subsample = subsample
        self.colsample_bynode = colsample_bynode
        self.reg_lambda = reg_lambda
        self.pca = pca
        self.early_stopping_rounds = early_stopping_rounds
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Boosts; see `EstimatorHead.fit` for the arguments and errors. Validation data stop it early."""
        import xgboost

        X = checked_features(X, y)
        self.steps_ = fit_transforms(Shared(X, y), standardize=False, pca=self.pca)
        self.classes_, labels = np.unique(y, return_inverse=True)
        try:
            train = xgboost.QuantileDMatrix(transform(self.steps_, X), labels, max_bin=self.max_bin, nthread=threads())
            watched = self._validation(train, validation_data, X.shape[1])
            self.booster_ = xgboost.train(
                self._options(), train, self.n_estimators, evals=watched, verbose_eval=False,
                early_stopping_rounds=self.early_stopping_rounds if watched else None,
            )  # fmt: skip
        except xgboost.core.XGBoostError as error:
            told = str(error).partition("Stack trace:")[0]
            message = "XGBoost refused: " + " ".join(re.sub(r"^\[[\d:]+\] \S+: ", "", told).split())
            raise HeadError(message) from error
        if watched:  # the trees after the best round are dropped, so that a saved model needs no note of it
            self.booster_ = self.booster_[: self.booster_.best_iteration + 1]
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32 in the order of `classes_`."""
        X = self._inputs(X)
        if not len(X):  # libraries refuse an empty table, or forget its columns
            return np.empty((0, len(self.classes_)), np.float32)
        return np.asarray(self.booster_.inplace_predict(transform(self.steps_, X)), np.float32)

    def _options(self) -> dict[str, Any]:
        names = ("max_depth", "learning_rate", "max_bin", "subsample", "colsample_bynode", "reg_lambda")
        return {
            **{name: getattr(self, name) for name in names},
            "objective": "multi:softprob", "num_class": len(self.classes_), "eval_metric": "mlogloss",
            "tree_method": "hist", "nthread": threads(), "seed": self.random_state, "verbosity": 0,
        }  # fmt: skip

    def _validation(
        self, train: Any, data: tuple[np.ndarray, np.ndarray] | None, features: int
    ) -> list[tuple[Any, str]]:
        import xgboost

        known = known_rows(self.classes_, *data, features) if data else None
        if known is None:
            return []
        inputs, labels = transform(self.steps_, known[0]), known[1]
        return [(xgboost.QuantileDMatrix(inputs, labels, ref=train, max_bin=self.max_bin, nthread=threads()), "val")]
