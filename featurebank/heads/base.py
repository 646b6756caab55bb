"""The base class of all heads: a scikit-learn classifier that predicts probabilities and can be saved.

There are two ways to train a head. Heads without epochs are fitted by `fit_shared`, one thread each; heads on the same
images share what they compute from them (`featurebank.heads.exact.shared`), and heads of one `path` start from each
other's solution. Heads with epochs (`featurebank.heads.trained`) are trained by their family, many in one program.
"""

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
from featurebank.heads.inputs import checked_vectors, validation_to_fit, vectors_to_fit, vectors_to_predict
from featurebank.heads.keras_layers import HeadFunctions
from featurebank.heads.needs import VECTORS
from featurebank.system.validation import ParameterCheck, refuse

FitResult = tuple[int, float, Exception | None]
"""The position of a fitted head, its seconds, and the error if it failed."""
USUAL_ROUNDS = 100
"""The number of iterations that `Head.cost` assumes if no parameter sets it."""
MOST_ROUNDS = 10**9
"""The largest number of iterations that `Head.cost` computes with, so that the product stays finite."""


class State(NamedTuple):
    """The fitted state of a head: everything but its class, its parameters and `classes_`."""

    arrays: Mapping[str, np.ndarray]
    """Arrays by name, without dtype object."""
    facts: Mapping[str, Any]
    """JSON values by name."""
    source: str = ""
    """The file that the state was read from, for error messages."""


class Head(HeadFunctions, ClassifierMixin, BaseEstimator):
    """The base class of all heads; it extends the interface of scikit-learn's classifiers.

    Code that trains, saves, exports or ranks heads uses only this interface and never checks the class of a head.
    `tests/heads/test_contract.py` tests every kind in the catalog against it.

    - Parameters are keyword arguments of the constructor, which only stores them; `random_state` is one of them.
      `check()` raises one HeadError for all wrong values.
    - `fit(X, y, validation_data=None)` takes features (n, ...) float32 and labels (n,) of integers or strings, and
      returns the head. It sets `classes_`, the labels in ascending order, and `n_features_in_`. It changes neither its
      arguments nor the parameters. The same parameters and the same data give the same head. Heads that can weight
      images (`WeightedHead`) also have `sample_weight`.
    - A wrong value is a HeadInputError, which is a ValueError. Predicting before `fit` is a NotFittedError, which is
      also scikit-learn's.
    - `predict_proba(X)` returns (n, classes) float32 or float64: finite, not negative, each row with the sum 1. A row
      does not depend on the other rows. `predict(X)` returns labels (n,).
    - `state()` returns what has to be saved, and `set_state()` restores it in a head with the same parameters, which
      then predicts the same. `saved_as` names the file format.
    - `n_parameters_` is the number of trained values. `cost()` estimates the time of the training before it starts, and
      `working_bytes()` its memory.
    - `needs` says whether it is trained on vectors or maps. A head that needs vectors flattens maps. `streams` says
      whether the vectors may stay in the bank.
    - `keras_layers_()` returns the fitted head as Keras layers, if it can become layers, and `linear_scores_()` its
      weights, if it is linear; see `HeadFunctions`.
    """

    needs: ClassVar[str] = VECTORS
    """`VECTORS`, `MAPS` or `MAPS_AT_A_CUT`."""
    streams: ClassVar[bool] = False
    """Whether the head can be trained on `StoredVectors`, which it reads in blocks; otherwise it gets arrays alone."""
    refused: ClassVar[Mapping[str, str]] = {}
    """Parameters that users may expect but that this head does not have, each with the reason."""
    saw_validation: ClassVar[bool] = False
    """Whether the labels of the validation images determine more than the end of the training, as in a calibration;
    `predict_validation` then returns fairer probabilities of these images than `predict_proba`."""
    saved_as: ClassVar[str] = ""
    """The file format; see `featurebank.heads.storage.saving`."""

    classes_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray
    """(d,) names of the columns of a fitted head whose training features were a table."""
    history_: Any = None
    """The `History` of a fitted head with epochs, otherwise None."""

    # ------------------------------------------------------------ before it is fitted

    def checks(self) -> list[ParameterCheck]:
        """Returns the checks of the types and ranges of the parameters."""
        return []

    def check(self) -> None:
        """Raises HeadError if a parameter is of a wrong type or out of its range; the message lists all of them."""
        refuse(type(self).__name__, self.checks())

    @property
    def gives_scores(self) -> bool:
        """Whether it has a probability or at least a score for each class; otherwise it says only the class."""
        return True

    def reads_blocks(self, images: int, width: int) -> bool:
        """Returns whether the head is trained on so many vectors in blocks, if they do not fit into memory."""
        return self.streams

    def wrong_values(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yields the problems that `check` finds, one by one.

        Args:
            names: the parameters that the user set.

        Yields:
            The name of the parameter ("" if the problem belongs to none of `names`) and the text of the problem.
        """
        try:
            self.check()
        except HeadError as error:
            known = set(names)
            for problem in re.sub(r"^\w+: ", "", str(error)).split("; "):
                words = [word for word in re.findall(r"\w+", problem) if word in known]
                yield (words[0] if words else ""), problem

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises HeadError if maps of this shape, (h, w, c), are too small for the head; call `check` before."""

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns an estimate of the memory of the training beside the features; see `featurebank.heads.memory`.

        Args:
            images: the number of training images.
            shape: the shape of one image's features.
            classes: the number of classes.
        """
        return 0

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns an estimate of the training time on one core, in nanoseconds.

        The order of magnitude is enough: a grid uses the estimate only until it has measured the first head of a kind.

        Args:
            images: the number of training images.
            shape: the shape of one image's features.
            classes: the number of classes.
            validation_images: the number of images that the head is evaluated on.
        """
        return float(USUAL_ROUNDS) * images * math.prod(shape)

    # ------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None = None) -> Self:
        """Fits the head by itself, without others.

        Args:
            X: (n, ...) features: an array, a list or a table.
            y: (n,) labels.
            validation_data: features and labels for early stopping or calibration; most heads ignore them.

        Raises:
            HeadInputError: a parameter is out of its range, the features are not finite or do not have the shape that
                the head needs, there is not one label per image, or all labels are equal.
            TypeError: the features are sparse, or not numbers.
            HeadError: the training failed.
            RamLimitError: the training needs more memory than `--ram` allows.
        """
        return self._fit_checked(X, y, validation_data)

    def _fit_checked(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None, sample_weight: Any = None) -> Self:
        """Checks parameters and data, then fits the head; see `fit`."""
        self.check()
        rows = vectors_to_fit(self, X, y, sample_weight)
        shared = Shared(*rows)
        if validation_data is not None:
            validation_data = validation_to_fit(self._validation_inputs(validation_data[0]), validation_data[1])
        return self._fit_alone(shared, validation_data)

    def _fit_alone(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None) -> Self:
        return self.fit_shared(shared, validation_data)

    def path(self) -> Hashable:
        """Returns the key of the regularization path that the head is on; None if it is on none.

        Heads of one class with equal keys are fitted one after another by `fit_path`, because each of them can start
        from the solution or the kernel of the one before.
        """
        return None

    @classmethod
    def fit_path(
        cls, heads: Sequence[Any], shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[FitResult]:
        """Fits heads of one class and one `path`, and yields the result of each as soon as it is fitted.

        Args:
            heads: the heads, which are fitted in place.
            shared: the training images.
            validation_data: features and labels for heads that use them.

        Yields:
            Position, seconds and error of each head. The seconds of the first head include the shared computations.
        """
        for position, head in enumerate(heads):
            began, failure = time.perf_counter(), None
            try:
                head.fit_shared(shared, validation_data)
            except Exception as error:  # noqa: BLE001 - the other heads are fitted nevertheless
                failure = error
            yield position, time.perf_counter() - began, failure

    def fit_shared(self, shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None) -> Self:
        """Fits the head as `fit` does, and reuses what other heads have computed from the same images.

        Args:
            shared: the training images, checked.
            validation_data: features and labels, as arrays.
        """
        raise NotImplementedError

    # ------------------------------------------------------------ when it is fitted

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes), in the order of `classes_`."""
        raise NotImplementedError

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Returns the most probable class of each row."""
        probabilities = self.predict_proba(X)  # first, because it raises HeadError if the head is not fitted
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def predict_validation(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the probabilities by which the head is scored on the validation images.

        If `saw_validation` is true, the label of an image does not influence its own probabilities: these are as fair
        as those of an image that the head has not seen.

        Args:
            X: (n, ...) features of the validation images.
            y: (n,) their labels.
        """
        return self.predict_proba(X)

    @property
    def n_parameters_(self) -> int | None:
        """The number of trained values; None if it is unknown."""
        return sum(int(array.size) for array in self.state().arrays.values())

    def state(self) -> State:
        """Returns the fitted state, to be saved.

        Raises:
            HeadError: the head holds an object that cannot be restored safely from a file.
        """
        raise NotImplementedError

    def set_state(self, state: State, classes: np.ndarray) -> None:
        """Restores a fitted state, which may come from a damaged file or from an untrusted one.

        Args:
            state: the state of a head with the same parameters.
            classes: the `classes_` of that head.

        Raises:
            HeadError: the file holds an object that may not be restored. Missing or unfitting parts may raise any
                error, here or at the first prediction.
        """
        raise NotImplementedError

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of one cheap input, on which a restored head is tried to see that its file is intact.

        Returns () if there is no cheap input; then the head is not tried.
        """
        return (self.n_features_in_,)

    def _inputs(self, X: Any) -> np.ndarray:
        """Returns features as (n, d) float32.

        Raises:
            NotFittedError: the head is not fitted.
            HeadInputError: the features are not finite, or do not have the columns of the training features.
        """
        return vectors_to_predict(self, X)

    def _validation_inputs(self, X: Any) -> Any:
        """Returns validation features like `_inputs`, while the head is being fitted."""
        return checked_vectors(self, X)

    def __sklearn_is_fitted__(self) -> bool:
        """Returns whether the head is fitted: scikit-learn asks for it."""
        return hasattr(self, "classes_")
