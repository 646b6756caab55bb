"""Any scikit-learn classifier as a head."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from featurebank.errors import HeadError
from featurebank.heads.base import Head
from featurebank.heads.features import checked_features
from featurebank.heads.activations import softmax


class EstimatorHead(Head):
    """A scikit-learn classifier on flattened features, with optional standardisation and PCA before it.

    Args:
        estimator: an unfitted classifier; it is cloned by `fit`.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        random_state: seed of the PCA and, where it takes one, of the estimator.
    """

    def __init__(
        self, estimator: Any = None, *, standardize: bool = False, pca: int | None = None, random_state: int = 0
    ) -> None:
        self.estimator = estimator
        self.standardize = standardize
        self.pca = pca
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the estimator.

        Args:
            X: (n, ...) features; maps are flattened.
            y: (n,) labels.
            validation_data: not used; taken so that every head can be called alike.

        Raises:
            HeadError: the features are not finite, there is one class only, or `pca` is more than there is.
        """
        X = checked_features(X, y)
        self.steps_ = fit_transforms(X, standardize=self.standardize, pca=self.pca, random_state=self.random_state)
        self.estimator_ = clone(self.estimator)
        if "random_state" in self.estimator_.get_params(deep=False):
            self.estimator_.set_params(random_state=self.random_state)
        self.estimator_.fit(transform(self.steps_, X), y)
        self.classes_ = np.asarray(self.estimator_.classes_)
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) in the order of `classes_`.

        An estimator that has none gives the softmax of its decision function: the right order, but not calibrated.
        """
        X = self._inputs(X)
        if not len(X):  # libraries refuse an empty table, or forget its columns
            return np.empty((0, len(self.classes_)), np.float32)
        inputs = transform(self.steps_, X)
        if hasattr(self.estimator_, "predict_proba"):
            return np.asarray(self.estimator_.predict_proba(inputs), np.float32)
        if hasattr(self.estimator_, "decision_function"):
            decision = np.asarray(self.estimator_.decision_function(inputs))
            return softmax(np.stack([-decision, decision], 1) / 2 if decision.ndim == 1 else decision)
        predicted = self.estimator_.predict(inputs)
        return np.asarray(predicted[:, None] == self.classes_[None], np.float32)


def fit_transforms(X: np.ndarray, *, standardize: bool, pca: int | None, random_state: int) -> list[Any]:
    """Returns the fitted steps that stand before an estimator."""
    steps: list[Any] = []
    if standardize:
        steps.append(StandardScaler().fit(X))
    if pca is not None:
        most = min(X.shape)
        if not 1 <= pca <= most:
            message = f"pca is {pca}, expected 1 to {most} (the smaller of images and features)"
            raise HeadError(message)
        steps.append(PCA(pca, random_state=random_state).fit(transform(steps, X)))
    return steps


def transform(steps: list[Any], X: np.ndarray) -> np.ndarray:
    """Applies fitted steps in turn."""
    for step in steps:
        X = step.transform(X)
    return X
