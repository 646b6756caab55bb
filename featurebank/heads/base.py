"""What every head is, however it is trained: a scikit-learn classifier that answers with probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from featurebank.errors import HeadError
from featurebank.heads.features import flat_features


class Head(ClassifierMixin, BaseEstimator):
    """Base of the heads; a subclass has `fit`, which sets `classes_` and `n_features_in_`, and `predict_proba`."""

    classes_: np.ndarray
    n_features_in_: int

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes), in the order of `classes_`."""
        raise NotImplementedError

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the fitted head to a graph, as ordinary Keras layers with its weights.

        Args:
            tensor: a Keras tensor of what the head was trained on, (n, d) or (n, h, w, c) float32.

        Returns:
            A Keras tensor of logits (n, classes), in the order of `classes_`: their softmax is `predict_proba`.

        Raises:
            HeadError: the head cannot be told in layers.
        """
        message = f"{type(self).__name__} is no stack of layers"
        raise HeadError(message)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Returns the most probable class of each row."""
        probabilities = self.predict_proba(X)  # first: it tells where the head is not fitted
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """Returns features as (n, d) float32.

        Raises:
            HeadError: the head is not fitted, or the features are not finite or not of its width.
        """
        if not hasattr(self, "n_features_in_"):
            message = f"{type(self).__name__} is not fitted yet: call fit first"
            raise HeadError(message)
        return flat_features(X, self.n_features_in_)
