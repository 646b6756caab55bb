"""What the heads with an exact solution share: closed forms, convex problems, kernels.

They need the training images alone, take what others computed from them (`Shared`), and use no chance: `random_state`
is a parameter that changes nothing, so that every kind of head is made alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from featurebank.errors import HeadError
from featurebank.heads.base import Head
from featurebank.heads.layers import dense, flat
from featurebank.heads.memory import check_memory
from featurebank.heads.reduced import Reduced
from featurebank.heads.shared import Shared
from featurebank.heads.steps import Steps, Transform, row_blocks
from featurebank.runtime import limited_blas
from featurebank.system.validation import Check, count, number, optional, refuse, switch
from featurebank.training.activations import softmax

Told = tuple[int, float, Exception | None]
"""The position of a head, the seconds that it took, and why it failed."""


class ExactHead(Head):
    """Base of these heads; a subclass has `_solve`, `_logits` and the names of its fitted arrays."""

    _arrays: tuple[str, ...] = ()
    """Attributes that a saved head is made of, beside its classes."""

    def fit(
        self,
        X: np.ndarray,
        y: np.ndarray,
        validation_data: tuple[np.ndarray, np.ndarray] | None = None,
        shared: Shared | None = None,
    ) -> Self:
        """Fits the head.

        Args:
            X: (n, ...) float32 features; maps are flattened.
            y: (n,) labels.
            validation_data: not used; taken so that every head can be called alike.
            shared: X and y with what other heads computed from them; None computes it for this head alone.

        Raises:
            HeadError: a parameter is out of its range, the features are not finite, there is one class only, or the
                problem has no single solution.
            RamLimitError: it does not fit in memory.
        """
        with limited_blas(1):  # many small steps: two threads of BLAS, which wait for each other, take twice as long
            for _, _, error in self.fit_path([self], shared or Shared(X, y)):
                if error:
                    raise error
        return self

    @classmethod
    def fit_path(cls, heads: Sequence[Any], shared: Shared) -> Iterator[Told]:
        """Fits heads of one class and one `path`, telling each as soon as it is fitted.

        Args:
            heads: to be fitted in place.
            shared: the training images.

        Yields:
            Position, seconds and failure of each. What they share is in the seconds of the first.
        """
        for position, head in enumerate(heads):
            began, failure = time.perf_counter(), None
            try:
                head._fit(shared)
            except Exception as error:  # noqa: BLE001 - one head's, the others go on
                failure = error
            yield position, time.perf_counter() - began, failure

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return self.steps()

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `featurebank.heads.memory`."""
        return 4 * 8 * math.prod(shape) * classes

    def _fit(self, shared: Shared) -> None:
        self.check()
        check_memory(self, len(shared.X), shared.X.shape[1:], len(shared.classes), shared.X.nbytes)
        self._solve(shared)
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]

    def _solve(self, shared: Shared) -> None:
        """Sets the fitted arrays."""
        raise NotImplementedError

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        names = ("power", "normalize", "standardize", "pca", "whiten")
        return Steps(**{name: getattr(self, name) for name in names if hasattr(self, name)})

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""
        given = self.get_params(deep=False)
        checks = [*(switch(name, value) for name, value in given.items() if name in _SWITCHES), *self._checks()]
        if "pca" in given:
            checks.append(optional(count("pca", given["pca"])))
        if "power" in given:
            checks.append(number("power", given["power"], above=0))
        refuse(type(self).__name__, checks)

    def _checks(self) -> list[Check]:
        """Returns what is to be checked of the parameters that the other heads have not."""
        return []

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float32 in the order of `classes_`: the softmax of the head's logits."""
        X = self._inputs(X)
        found = np.empty((len(X), len(self.classes_)), np.float32)
        for rows in row_blocks(len(X), max(X.shape[1], self._width())):
            found[rows] = softmax(self._logits(X[rows]))
        return found

    def _width(self) -> int:
        """Returns how many numbers the head computes for an image."""
        return len(self.classes_)

    def _logits(self, X: np.ndarray) -> np.ndarray:
        """Returns logits (m, classes) of features (m, d)."""
        raise NotImplementedError

    def linear_(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the head as one dense layer on raw features: `predict_proba(X)` is softmax(X @ weights + bias).

        Returns:
            Weights (d, classes) and bias (classes,), float64.

        Raises:
            HeadError: it is none.
        """
        message = f"{type(self).__name__} with these parameters is no linear function of the features"
        raise HeadError(message)

    def keras_layers_(self, tensor: Any) -> Any:
        """Adds the head to a graph as one dense layer; see `Head.keras_layers_`."""
        return dense(flat(tensor), *self.linear_(), "head_logits")

    @property
    def n_parameters_(self) -> int:
        """How many numbers the trained head holds."""
        return sum(array.size for array in self.state().values())

    def state(self) -> dict[str, np.ndarray]:
        """Returns the fitted arrays by name; with the parameters and classes they are the whole head."""
        return {name: np.asarray(getattr(self, name)) for name in self._arrays}

    def set_state(self, arrays: dict[str, np.ndarray], classes: np.ndarray, features: int) -> None:
        """Takes what `state` returned."""
        for name in self._arrays:
            setattr(self, name, arrays[name])
        self.classes_, self.n_features_in_ = classes, features


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
        """Returns weights (d, classes) and bias (classes,), float64; see `ExactHead.linear_`."""
        if self.steps().by_row != Steps().by_row:
            return super().linear_()
        return self.weights_, self.bias_


class TransformedHead(ExactHead):
    """Base of the heads that look at the transformed features of each image."""

    transform_: Transform

    def state(self) -> dict[str, np.ndarray]:
        """Returns the fitted arrays by name."""
        kept = self.transform_
        arrays = {"mean": kept.mean, "scale": kept.scale, **({} if kept.axes is None else {"axes": kept.axes})}
        return {**super().state(), **arrays}

    def set_state(self, arrays: dict[str, np.ndarray], classes: np.ndarray, features: int) -> None:
        """Takes what `state` returned."""
        super().set_state(arrays, classes, features)
        self.transform_ = Transform(self.steps(), arrays["mean"], arrays["scale"], arrays.get("axes"))


_SWITCHES = frozenset({"normalize", "standardize", "whiten", "fit_intercept"})


def one_hot(positions: np.ndarray, classes: int) -> np.ndarray:
    """Returns (n, classes) float64 with 1 at each image's class."""
    found = np.zeros((len(positions), classes))
    found[np.arange(len(positions)), positions] = 1
    return found
