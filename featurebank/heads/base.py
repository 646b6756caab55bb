"""What every head is, however it is trained: a scikit-learn classifier that answers with probabilities."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from featurebank.errors import HeadError
from featurebank.heads.exact.shared import Shared
from featurebank.heads.inputs import flat_features
from featurebank.heads.needs import VECTORS

FitResult = tuple[int, float, Exception | None]
"""The position of a head, the seconds that it took, and why it failed."""
USUAL_ROUNDS = 100
MOST_ROUNDS = 10**9
"""That `Head.cost` reckons with, whatever a grid says."""


class State(NamedTuple):
    """All that a fitted head is, beside its class, its parameters and the labels of its classes."""

    arrays: Mapping[str, np.ndarray]
    """By name; none holds Python objects."""
    facts: Mapping[str, Any]
    """JSON values by name."""
    source: str = ""
    """The file that it was read from, for messages."""


class Head(ClassifierMixin, BaseEstimator):
    """The contract of all heads; follows scikit-learn's of classifiers.

    Whoever trains, saves, grafts or ranks heads asks what is below, and never which class a head is of.
    `tests/heads/test_contract.py` holds every kind of the catalog to it.

    - Parameters are arguments of the constructor by keyword, which only stores them; `random_state` is one of them.
      `check()` says what is wrong with their values, in one HeadError.
    - `fit(X, y, validation_data=None)` takes features (n, ...) float32 and labels (n,) of integers or strings, and
      returns the head. It sets `classes_`, the labels in ascending order, and `n_features_in_`. It changes neither its
      arguments nor parameters, and with the same parameters on the same data gives the same head.
    - `predict_proba(X)` returns (n, classes) float32 or float64: finite, not below 0, of sum 1 in each row, and for
      each row the same whatever rows stand beside it; `predict(X)` returns labels (n,).
    - `state()` and `set_state()` are the way to disk and back: a head with the same parameters that takes the state of
      a fitted one gives the same answers. `saved_as` names the form of the file.
    - `n_parameters_` is how many trained numbers a fitted head holds, `cost()` how long its training will take,
      `working_bytes()` how much memory that needs.
    - `needs` says what it is trained on, vectors or maps. A head that needs vectors flattens maps.
    - `keras_layers_()` is the fitted head as layers of Keras, where it is some.

    Heads without epochs are trained on one thread each, and take what others computed of the same images by
    `fit_shared`; heads with epochs are trained by their family: see `featurebank.heads.families`.
    """

    needs: ClassVar[str] = VECTORS
    """`VECTORS`, `MAPS` or `MAPS_AT_A_CUT`."""
    refused: ClassVar[Mapping[str, str]] = {}
    """Parameters that a user may expect from elsewhere, with the reason why there are none."""
    saw_validation: ClassVar[bool] = False
    """Whether the labels of the validation images decide more than when its training ends: see `predict_validation`."""
    saved_as: ClassVar[str] = ""
    """The form of its file: see `featurebank.heads.storage.saving`."""

    classes_: np.ndarray
    n_features_in_: int
    history_: Any = None
    """The `History` of a fitted head with epochs."""

    # ------------------------------------------------------------ before it is fitted

    def check(self) -> None:
        """Raises HeadError where parameters are of a wrong type or out of their range; its message has all of them."""

    def wrong_values(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields what is wrong with the values of parameters.

        Args:
            names: of the parameters that somebody gave.

        Yields:
            The name of the parameter, "" where a problem is of none of them, and the text of the problem.
        """
        try:
            self.check()
        except HeadError as error:
            known = set(names)
            for problem in re.sub(r"^\w+: ", "", str(error)).split("; "):
                words = [word for word in re.findall(r"\w+", problem) if word in known]
                yield (words[0] if words else ""), problem

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises HeadError where maps of a shape (h, w, c) are too small for the head; its parameters are checked."""

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes its training takes beside the features; see `featurebank.heads.memory`.

        Args:
            images: how many it is trained on.
            shape: of one image's features.
            classes: how many there are.
        """
        return 0

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes on one core of a common machine.

        Only a first guess, and only to the nearest power of ten: what counts is measured.

        Args:
            images: how many it is trained on.
            shape: of one image's features.
            classes: how many there are.
            validation_images: how many it is scored on.
        """
        return float(USUAL_ROUNDS) * images * math.prod(shape)

    # ------------------------------------------------------------ fitting

    def fit(self, X: np.ndarray, y: np.ndarray, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the head, alone.

        Args:
            X: (n, ...) float32 features.
            y: (n,) labels.
            validation_data: features and labels that some heads stop early by, or are calibrated with.

        Raises:
            HeadError: a parameter is out of its range, the features are not finite or not what the head needs, there is
                one class only, or the training failed.
            RamLimitError: it takes more memory than `--ram` allows.
        """
        raise NotImplementedError

    def path(self) -> Hashable:
        """Returns what the heads of a class have in common that are best fitted one after another; None: nothing."""
        return None

    @classmethod
    def fit_path(
        cls, heads: Sequence[Any], shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[FitResult]:
        """Fits heads of one class and one `path`, telling each as soon as it is fitted.

        Args:
            heads: to be fitted in place.
            shared: the training images.
            validation_data: features and labels for heads that use them.

        Yields:
            Position, seconds and failure of each. What they share is in the seconds of the first.
        """
        for position, head in enumerate(heads):
            began, failure = time.perf_counter(), None
            try:
                head.fit_shared(shared, validation_data)
            except Exception as error:  # noqa: BLE001 - one head's, the others go on
                failure = error
            yield position, time.perf_counter() - began, failure

    def fit_shared(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the head on images of which others may have computed what it needs; see `fit`."""
        return self.fit(shared.X, shared.y, validation_data)

    # ------------------------------------------------------------ when it is fitted

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes), in the order of `classes_`."""
        raise NotImplementedError

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Returns the most probable class of each row."""
        probabilities = self.predict_proba(X)  # first: it tells where the head is not fitted
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_validation(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns probabilities of all validation images, as fair as they can be where `saw_validation` is true.

        Args:
            X: (n, ...) features of the validation images.
            y: (n,) their labels.
        """
        return self.predict_proba(X)

    @property
    def n_parameters_(self) -> int | None:
        """How many trained numbers the head holds; None where that cannot be told."""
        return sum(int(array.size) for array in self.state().arrays.values())

    def state(self) -> State:
        """Returns what the fitted head is made of.

        Raises:
            HeadError: it holds something that is not restored from files.
        """
        raise NotImplementedError

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Takes what `state` returned, perhaps from a file that is damaged or a stranger's.

        Args:
            state: of a head with the same parameters.
            classes: its `classes_`.

        Raises:
            HeadError: the file holds something that is not restored. Parts that are missing or do not fit raise any
                error, here or at the first answer.
        """
        raise NotImplementedError

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of an input that the fitted head answers quickly for, to see that a file is whole.

        () where there is no such input.
        """
        return (self.n_features_in_,)

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

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """Returns features as (n, d) float32.

        Raises:
            HeadError: the head is not fitted, or the features are not finite or not of its width.
        """
        if not hasattr(self, "n_features_in_"):
            message = f"{type(self).__name__} is not fitted yet: call fit first"
            raise HeadError(message)
        return flat_features(X, self.n_features_in_)


def epochs_cost(epochs: int, images: int, adds: float, adds_a_nanosecond: float) -> float:
    """Returns about how many nanoseconds a training by gradient descent takes.

    Args:
        epochs: at most.
        images: how many it is trained on.
        adds: multiply-adds of the answer for one image; a step has three times as many.
        adds_a_nanosecond: those of a step, on one core.
    """
    return float(images) * float(epochs) * 3 * adds / adds_a_nanosecond
