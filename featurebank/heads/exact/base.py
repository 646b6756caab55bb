"""What the heads with an exact solution share: closed forms, convex problems, kernels.

They need the training images alone, take what others computed from them (`Shared`), and use no chance: `random_state`
is a parameter that changes nothing, so that every kind of head is made alike.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Self

import numpy as np

from featurebank.heads.base import Head, State
from featurebank.heads.exact.coordinates import Reduced
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps, Transform, row_blocks
from featurebank.heads.keras_layers import dense, flat
from featurebank.heads.memory import check_memory
from featurebank.system.runtime import limited_blas
from featurebank.system.validation import ParameterCheck, count, number, optional, switch
from featurebank.training.activations import softmax
from featurebank.training.class_weights import class_weight_check


class ExactHead(Head):
    """Base of these heads; a subclass has `_solve`, `_logits` and the names of its fitted arrays."""

    saved_as = "exact"

    _arrays: tuple[str, ...] = ()
    """Attributes that a saved head is made of, beside its classes."""

    def _fit_alone(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None) -> Self:
        with limited_blas(1):  # many small steps: two threads of BLAS, which wait for each other, take twice as long
            for _, _, error in self.fit_path([self], shared):
                if error:
                    raise error
        return self

    def fit_shared(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the head on images of which others may have computed what it needs; see `Head.fit_shared`."""
        self._fit(shared)
        return self

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return self.steps()

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `featurebank.heads.memory`."""
        return 4 * 8 * math.prod(shape) * classes

    def _fit(self, shared: Shared) -> None:
        self.check()
        check_memory(self, shared.loaded, shared.X.shape[1:], len(shared.classes), shared.nbytes)
        self._solve(shared.weighted(getattr(self, "class_weight", None)))
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]

    def reads_blocks(self, images: int, width: int) -> bool:
        """Returns whether the head can read so many vectors in blocks; see `Head.reads_blocks`.

        With fewer images than features, products of images need less memory than the products of features that a pass
        can take.
        """
        return self.streams and images >= width

    def _solve(self, shared: Shared) -> None:
        """Sets the fitted arrays."""
        raise NotImplementedError

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        names = ("power", "normalize", "standardize", "pca", "whiten")
        params = self.get_params(deep=False)
        return Steps(**{name: params[name] for name in names if name in params})

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of all parameters."""
        params = self.get_params(deep=False)
        checks = [*(switch(name, value) for name, value in params.items() if name in _SWITCHES), *self._checks()]
        if "pca" in params:
            checks.append(optional(count("pca", params["pca"])))
        if "class_weight" in params:
            checks.append(class_weight_check(params["class_weight"]))
        if "power" in params:
            checks.append(number("power", params["power"], above=0))
        return checks

    def _checks(self) -> list[ParameterCheck]:
        """Returns what is to be checked of the parameters that the other heads have not."""
        return []

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32 in the order of `classes_`: the softmax of the head's logits."""
        X = self._inputs(X)
        probabilities = np.empty((len(X), len(self.classes_)), np.float32)
        for rows in row_blocks(len(X), max(X.shape[1], self._width())):
            probabilities[rows] = softmax(self._logits(X[rows]))
        return probabilities

    def _width(self) -> int:
        """Returns the number of values that the head computes for an image."""
        return len(self.classes_)

    def _logits(self, X: np.ndarray) -> np.ndarray:
        """Returns logits (m, classes) of features (m, d)."""
        raise NotImplementedError

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph as one dense layer; see `Head.keras_layers_`."""
        return dense(flat(tensor), *self.linear_(), "head_logits")

    def state(self) -> State:
        """Returns the fitted arrays and the width of a row; see `Head.state`."""
        return State(self._state_arrays(), {"features": self.n_features_in_})

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned."""
        self._set_arrays(state.arrays)
        self.classes_, self.n_features_in_ = classes, state.facts["features"]

    def _state_arrays(self) -> dict[str, np.ndarray]:
        return {name: np.asarray(getattr(self, name)) for name in self._arrays}

    def _set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        for name in self._arrays:
            setattr(self, name, arrays[name])

    def _inputs_width(self, shape: tuple[int, ...]) -> int:
        """Returns the number of inputs of the linear system: features, or their components."""
        width = math.prod(shape)
        return min(width, self.steps().pca or width)


class LinearHead(ExactHead):
    """Base of the heads that are one dense layer in the end; their `_solve` ends with `_set_linear`."""

    _arrays = ("weights_", "bias_")

    weights_: np.ndarray
    """(d, classes) float64, of features after the steps by row."""
    bias_: np.ndarray
    """(classes,) float64."""

    def _set_linear(self, coordinates: Reduced, weights: np.ndarray, bias: np.ndarray, mean: np.ndarray) -> None:
        """Takes weights (size, classes) of the coordinates, and the bias of centred features."""
        self.weights_ = coordinates.lift(weights)
        self.bias_ = bias - mean @ self.weights_

    def _logits(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.steps().rows(X) @ self.weights_ + self.bias_)

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights (d, classes) and bias (classes,), float64; see `Head.linear_`."""
        if self.steps().by_row != Steps().by_row:
            return super().linear_()
        return self.weights_, self.bias_


class TransformedHead(ExactHead):
    """Base of the heads that look at the transformed features of each image."""

    transform_: Transform

    def _state_arrays(self) -> dict[str, np.ndarray]:
        transform = self.transform_
        arrays = {
            "mean": transform.mean,
            "scale": transform.scale,
            **({} if transform.axes is None else {"axes": transform.axes}),
        }
        return {**super()._state_arrays(), **arrays}

    def _set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        super()._set_arrays(arrays)
        self.transform_ = Transform(self.steps(), arrays["mean"], arrays["scale"], arrays.get("axes"))


_SWITCHES = frozenset({"normalize", "standardize", "whiten", "fit_intercept"})


def one_hot(positions: np.ndarray, classes: int) -> np.ndarray:
    """Returns (n, classes) float64 with 1 at each image's class."""
    codes = np.zeros((len(positions), classes))
    codes[np.arange(len(positions)), positions] = 1
    return codes
