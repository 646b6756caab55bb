"""Temperature scaling: a head whose probabilities are as sure as they should be."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import clone

from featurebank.errors import HeadInputError
from featurebank.heads.base import Head, State
from featurebank.heads.exact.shared import Shared
from featurebank.heads.inputs import check_fitted, labels_of, vectors_to_fit
from featurebank.heads.streamed.predictions import probabilities
from featurebank.metrics import SMALLEST
from featurebank.training.activations import softmax

METHODS = ("temperature",)
_RANGE = (0.05, 20.0)
"""Of temperatures; a head that wants another one is of no use with any."""


@dataclass(eq=False, repr=False)
class CalibratedHead(Head):
    """A head and one temperature, which all its logits are divided by; which class it chooses does not change.

    `fit` needs validation data: the temperature is fitted on them. Those of classes that training lacks do not count;
    where there are no others, the probabilities stay as they are.

    The temperature is the one of least log loss on the validation images. Logits are the logarithms of the head's
    probabilities, so that any head will do.

    Args:
        head: an unfitted head; it is cloned by `fit`.
        method: "temperature".
        random_state: seed of the head.

    References:
        Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """

    saved_as = "calibrated"
    saw_validation = True

    head: Any = None
    _: KW_ONLY
    method: str = "temperature"
    random_state: int = 0

    def check(self) -> None:
        """Raises HeadError where the method or a parameter of the head is wrong."""
        if self.method not in METHODS:
            message = f"calibrate is {self.method!r}: expected 'temperature'"
            raise HeadInputError(message)
        self.head.check()

    def _fit_checked(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None, sample_weight: Any = None) -> Self:
        self.check()
        if validation_data is None:
            Shared(*vectors_to_fit(self, X, y))  # raises what is wrong with these, which is reported first
            message = "calibrate = 'temperature' needs validation data: fit(X, y, validation_data=(X_val, y_val))"
            raise HeadInputError(message)
        head = clone(self.head).set_params(random_state=self.random_state)
        return self.calibrate(head.fit(X, y, validation_data), validation_data)

    def calibrate(self, head: Any, validation_data: tuple[np.ndarray, np.ndarray]) -> Self:
        """Fits the temperature of a fitted head.

        Raises:
            HeadError: there is no such method.
        """
        self.check()
        X_val, y_val = validation_data[0], labels_of(validation_data[1])
        self.head_, self.classes_, self.n_features_in_ = head, head.classes_, head.n_features_in_
        found = probabilities(head, X_val, remedy="increase --ram, or train without 'calibrate'")
        self.temperature_ = _temperature(*self._known(found, y_val))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float64, in the order of `classes_`.

        (In float32 two probabilities that a high temperature brings together could become one, and the prediction
        another.)
        """
        return at_temperature(self._raw(X), self.temperature_)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head and its temperature to a graph; see `Head.keras_layers_`."""
        import keras

        logits = keras.layers.Activation("log_softmax", name="head_log")(self.head_.keras_layers_(tensor))
        logits = keras.ops.maximum(logits, float(np.log(SMALLEST)))  # as `at_temperature`, which knows no others
        return keras.layers.Rescaling(1 / self.temperature_, name="head_temperature")(logits)

    def linear_scores_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the scores of the head without its temperature; see `Head.linear_scores_`."""
        weights, bias = self.head_.linear_scores_()
        return weights, bias

    def score_gradients_(self, X: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Returns the gradients of the head without its temperature; see `Head.score_gradients_`."""
        return np.asarray(self.head_.score_gradients_(X, places))

    def keras_scores_(self, tensor: Any) -> Any:
        """Adds the head without its temperature to a graph; see `Head.keras_scores_`."""
        return self.head_.keras_scores_(tensor)

    def predict_validation(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns probabilities of the images that the temperature was fitted on, as of images that it was not.

        Each half of the rows is evaluated with the temperature that is best on the other half, so that the loss and the
        calibration error on them are not better than they would be on new images.
        """
        raw = self._raw(X)
        probabilities = np.empty(raw.shape)
        half = np.arange(len(raw)) % 2 == 0
        for rows, others in ((half, ~half), (~half, half)):
            probabilities[rows] = at_temperature(raw[rows], _temperature(*self._known(raw[others], y[others])))
        return probabilities

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of the calibrated head."""
        return tuple(self.head_.trial_shape())

    def state(self) -> State:
        """Returns the temperature; the head inside has a state of its own, see `Head.state`."""
        return State({}, {"temperature": self.temperature_})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned; `head_` is set before."""
        self.classes_, self.n_features_in_ = classes, self.head_.n_features_in_
        self.temperature_ = float(state.facts["temperature"])

    @property
    def n_parameters_(self) -> int | None:
        """How many trained numbers the head holds, and the temperature."""
        inside = self.head_.n_parameters_
        return None if inside is None else inside + 1

    @property
    def history_(self) -> Any:
        """The history of the head, if it has one."""
        return self.head_.history_

    def _raw(self, X: np.ndarray) -> np.ndarray:
        check_fitted(self)
        return probabilities(self.head_, X)

    def _known(self, probabilities: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities of images whose class training had, and the places of their classes."""
        known = np.isin(y, self.classes_)
        return probabilities[known], np.searchsorted(self.classes_, y[known])


def at_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the softmax of logarithms of probabilities (n, classes) that are divided by a temperature, float64."""
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature)


def _temperature(probabilities: np.ndarray, positions: np.ndarray) -> float:
    """Returns the temperature of least log loss; 1 where there are no images."""
    if not len(positions):
        return 1.0
    from scipy.optimize import minimize_scalar

    logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
    own = logits[np.arange(len(positions)), positions].mean()

    def loss(inverse: float) -> float:
        scaled = logits * inverse
        most = scaled.max(axis=1)
        sums = np.exp(scaled - most[:, None]).sum(axis=1)
        return float((most + np.log(sums)).mean() - own * inverse)  # convex: one minimum

    minimum = minimize_scalar(loss, bounds=(1 / _RANGE[1], 1 / _RANGE[0]), method="bounded", options={"xatol": 1e-6})
    return float(1 / minimum.x)
