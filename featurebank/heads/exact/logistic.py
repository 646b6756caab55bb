"""The logistic head: multinomial logistic regression to its optimum, many penalties in one sweep."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from featurebank.errors import HeadWarning
from featurebank.heads.base import FitResult
from featurebank.heads.exact.base import LinearHead
from featurebank.heads.exact.coordinates import DenseFactor, Factor, Precision, Reduced, inputs, reduced
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.logistic_search import (
    CORRECTIONS,
    CURVATURE,
    EXACT_NUMBERS,
    TOLERANCES,
    Problem,
    log_probabilities,
    minimise,
)
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.exact.streamed_logistic import StreamedProblem
from featurebank.heads.exact.transforms import Steps, row_blocks
from featurebank.heads.memory import check_memory
from featurebank.heads.weighted import WeightedHead
from featurebank.system.validation import ParameterCheck, number
from featurebank.training.class_weights import ClassWeight
from featurebank.words import counted


@dataclass(kw_only=True, eq=False, repr=False)
class LogisticHead(WeightedHead, LinearHead):
    """Multinomial logistic regression with an L2 penalty: the objective of `sklearn.linear_model.LogisticRegression`.

    The sum of the images' log losses and of |weights|^2 / (2 C); the bias is free. It is minimised by L-BFGS, whose
    variables are brought to the curvature that Boehning's bound on the Hessian gives them (Annals of the Institute of
    Statistical Mathematics 44, 1992): with the Gram matrix made diagonal, each C costs a rescaling. Where
    that is slow, each image's own curvature is taken. A grid over C is fitted
    from the strongest penalty to the weakest, each from the one before. Products of the features are float32, sums and
    the search float64.

    Args:
        C: the inverse of the penalty.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        fit_intercept: whether there is a bias.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        max_iter: steps at most; a head that has not converged by then says so in the notes of its run.
        random_state: changes nothing.
    """

    streams: ClassVar[bool] = True

    C: float = 1.0
    standardize: bool = False
    pca: int | None = None
    fit_intercept: bool = True
    class_weight: ClassWeight = None
    max_iter: int = 1000
    random_state: int = 0

    def _checks(self) -> list[ParameterCheck]:
        most = number("max_iter", self.max_iter, above=0)
        whole = most.holds and int(self.max_iter) == self.max_iter
        return [
            number("C", self.C, above=0),
            most._replace(expected="a whole number of 1 or more", holds=whole),
        ]

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        return Steps(standardize=self.standardize, pca=self.pca, center=self.fit_intercept)

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `ExactHead`."""
        width = math.prod(shape)
        return 8 * (width + 1) * classes * (2 * CORRECTIONS + 10) + 8 * images * min(width, images)

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        return 100.0 * images * self._inputs_width(shape)

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return (self.steps(), self.fit_intercept, repr(self.class_weight))

    @classmethod
    def fit_path(
        cls, heads: Sequence[Any], shared: Shared, validation_data: tuple[np.ndarray, np.ndarray] | None = None
    ) -> Iterator[FitResult]:
        """Fits heads that differ in C, from the strongest penalty on; see `Head.fit_path`."""
        known: list[tuple[float, np.ndarray]] = []
        features: list[np.ndarray] = []  # the path's alone: they are freed with it
        for position in sorted(
            range(len(heads)), key=lambda i: heads[i].C if number("C", heads[i].C, above=0).holds else 0.0
        ):
            began, failure = time.perf_counter(), None
            try:
                known = [*known[-1:], heads[position]._fit_after(shared, known, features)]
            except Exception as error:  # noqa: BLE001 - one head's, the others go on
                failure = error
            yield position, time.perf_counter() - began, failure

    def _fit_after(
        self, shared: Shared, known: list[tuple[float, np.ndarray]], features: list[np.ndarray]
    ) -> tuple[float, np.ndarray]:
        """Fits after heads whose log C and weights are given; returns its own. The first one sets the features."""
        self.check()
        steps, classes = self.steps(), len(shared.classes)
        check_memory(self, shared.loaded, shared.X.shape[1:], classes, shared.nbytes)
        shared = shared.weighted(self.class_weight)
        coordinates = reduced(shared, steps)
        # Two classes: scikit-learn penalises one vector of weights, which is twice each of two opposite ones.
        penalty = (2 if classes == 2 else 1) / self.C  # noqa: PLR2004
        n = len(shared.y)
        dtype: Precision = np.float64 if n * coordinates.size <= EXACT_NUMBERS else np.float32
        if isinstance(shared, StreamedShared):
            problem: Problem = StreamedProblem(shared, steps, penalty, dtype, bias=self.fit_intercept)
        else:
            if not features:
                features.append(inputs(coordinates, n, dtype, gram(shared, steps).roots))
            problem = _Problem(coordinates, features[0], shared, penalty, bias=self.fit_intercept)
        start = _expected(known, float(np.log(self.C)), (coordinates.size + 1, classes))
        weights, self.n_iter_, converged = minimise(problem, start, int(self.max_iter))
        if not converged:
            message = f"not converged after {counted(self.n_iter_, 'step')}: raise max_iter, or standardize"
            warnings.warn(message, HeadWarning, stacklevel=2)
        self._set_linear(coordinates, weights[:-1], weights[-1], gram(shared, steps).mean)
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]
        return float(np.log(self.C)), weights


def _expected(known: list[tuple[float, np.ndarray]], log_c: float, shape: tuple[int, int]) -> np.ndarray:
    """Returns where the optimum may be: on the line through the last two, which the path over log C nearly follows."""
    if not known:
        return np.zeros(shape)
    (before, earlier), (last, start) = known[0], known[-1]
    if last <= before:
        return start
    return np.asarray(start + min((log_c - last) / (last - before), 1.0) * (start - earlier))


class _Problem:
    """The objective for weights and bias (size + 1, classes) of the reduced coordinates."""

    def __init__(
        self,
        coordinates: Reduced,
        inputs: np.ndarray,
        shared: Shared,
        penalty: float,
        *,
        bias: bool,
    ) -> None:
        self._coordinates, self._inputs, self._positions = coordinates, inputs, shared.positions
        self._classes, self._penalty, self._bias = len(shared.classes), penalty, bias
        self._weights, self._total = shared.weights, shared.total

    @property
    def tolerance(self) -> float:
        """Where the search may end."""
        return TOLERANCES[self._inputs.dtype.type]

    def bound(self, weights: np.ndarray) -> tuple[Factor, float]:
        """Returns the factor of the Hessian as if all images had the mean curvature that they have near some weights.

        And the root of its entry for the bias.
        """
        bends = self._bends(weights)
        bend = max(CURVATURE, float(bends.mean() if self._weights is None else bends @ self._weights / self._total))
        return self._coordinates.factor(bend, self._penalty), float(np.sqrt(bend * self._total))

    def local(self, weights: np.ndarray) -> tuple[Factor, float]:
        """Returns the same of the Hessian with the curvature of each image, which costs a product of all features."""
        bends = self._bends(weights)
        bends = np.maximum(bends, CURVATURE * bends.max())
        if self._weights is not None:
            bends = bends * self._weights
        total = np.zeros((self._inputs.shape[1],) * 2)
        for rows in row_blocks(*self._inputs.shape):
            part = self._inputs[rows] * np.sqrt(bends[rows]).astype(self._inputs.dtype)[:, None]
            total += part.T @ part
        total[np.diag_indices_from(total)] += self._penalty
        return DenseFactor(total), float(np.sqrt(bends.sum()))

    def _bends(self, weights: np.ndarray) -> np.ndarray:
        """Returns each image's curvature (n,), averaged over the classes."""
        parts = [np.exp(self._log_probabilities(rows, weights)) for rows in self._blocks()]
        return np.concatenate([(p * (1 - p)).sum(axis=1) for p in parts]) / (self._classes - 1)

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective and its gradient (size + 1, classes)."""
        loss, gradient = 0.0, self._penalty * weights
        gradient[-1] = 0
        for rows in self._blocks():
            log_probabilities = self._log_probabilities(rows, weights)
            true_class = np.arange(len(log_probabilities)), self._positions[rows]
            loss -= float(self._weighted(log_probabilities[true_class], rows).sum())
            slope = np.exp(log_probabilities)
            slope[true_class] -= 1
            slope = self._weighted(slope, rows)
            gradient[:-1] += self._inputs[rows].T @ slope.astype(self._inputs.dtype)
            if self._bias:
                gradient[-1] += slope.sum(axis=0)
        return loss + self._penalty / 2 * float((weights[:-1] ** 2).sum()), gradient

    def _weighted(self, values: np.ndarray, rows: slice) -> np.ndarray:
        """Returns values (m, ...) of some images, times their weights."""
        if self._weights is None:
            return values
        return np.asarray(values * self._weights[rows].reshape(-1, *[1] * (values.ndim - 1)))

    def _log_probabilities(self, rows: slice, weights: np.ndarray) -> np.ndarray:
        logits = (self._inputs[rows] @ weights[:-1].astype(self._inputs.dtype)).astype(np.float64) + weights[-1]
        return log_probabilities(logits)

    def _blocks(self) -> Iterator[slice]:
        """Yields rows that stay in a core's cache between the two products that they are in."""
        return row_blocks(len(self._inputs), max(32 * self._inputs.shape[1], self._classes))
