"""The logistic head: multinomial logistic regression to its optimum, many penalties in one sweep."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np

from featurebank.heads.exact import LinearHead, Problem, Told, is_above
from featurebank.heads.gram import Factor, gram, reduced
from featurebank.heads.neural import softmax
from featurebank.heads.shared import Shared
from featurebank.heads.steps import Steps, row_blocks

_TOLERANCE = 1e-9
"""Of the squared length of the preconditioned gradient, relative to the objective. What the objective could still fall
is this over the smallest curvature, which is 1 where the bound is tight and above .01 on all that was tried."""

_CURVATURE = 1e-3
"""The least mean curvature of the loss that the preconditioner reckons with."""


class LogisticHead(LinearHead):
    """Multinomial logistic regression with an L2 penalty: the objective of `sklearn.linear_model.LogisticRegression`.

    The sum of the images' log losses and of |weights|^2 / (2 C); the bias is free. It is minimised by L-BFGS, whose
    variables are brought to the curvature that Boehning's bound on the Hessian gives them (Annals of the Institute of
    Statistical Mathematics 44, 1992): with the Gram matrix as a band, each C costs a rescaling. A grid over C is fitted
    from the strongest penalty to the weakest, each from the one before. Products of the features are float32, sums and
    the search float64.

    Args:
        C: the inverse of the penalty.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        fit_intercept: whether there is a bias.
        max_iter: steps at most; a head that has not converged by then says so in the notes of its run.
        random_state: changes nothing.
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        standardize: bool = False,
        pca: int | None = None,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.standardize = standardize
        self.pca = pca
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.random_state = random_state

    def _problems(self) -> list[Problem]:
        counted = is_above(self.max_iter, 0) and int(self.max_iter) == self.max_iter
        return [
            ("C", self.C, "a number above 0", is_above(self.C, 0)),
            ("max_iter", self.max_iter, "a whole number of 1 or more", counted),
        ]

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        return Steps(standardize=self.standardize, pca=self.pca, center=self.fit_intercept)

    def path(self) -> Hashable:
        """Returns what the heads that are best fitted one after another have in common."""
        return (self.steps(), self.fit_intercept)

    @classmethod
    def fit_path(cls, heads: Sequence[Any], shared: Shared) -> Iterator[Told]:
        """Fits heads that differ in C, from the strongest penalty on; see `ExactHead.fit_path`."""
        start: np.ndarray | None = None
        for position in sorted(range(len(heads)), key=lambda i: heads[i].C if is_above(heads[i].C, 0) else 0.0):
            began, failure = time.perf_counter(), None
            try:
                start = heads[position]._fit_from(shared, start)  # noqa: SLF001 - of its own class
            except Exception as error:  # noqa: BLE001 - one head's, the others go on
                failure = error
            yield position, time.perf_counter() - began, failure

    def _fit_from(self, shared: Shared, start: np.ndarray | None) -> np.ndarray:
        """Fits from weights and bias (size + 1, classes) of the reduced coordinates; returns where it ends."""
        self.check()
        steps = self.steps()
        coordinates = reduced(shared, steps)
        inputs = shared.once(("float32", steps), lambda: _float32(coordinates, len(shared.y)))
        classes = len(shared.classes)
        # Two classes: scikit-learn penalises one vector of weights, which is twice each of two opposite ones.
        penalty = (2 if classes == 2 else 1) / self.C  # noqa: PLR2004
        problem = _Problem(inputs, shared.positions, classes, penalty, bias=self.fit_intercept)
        if start is None:
            start = np.zeros((coordinates.size + 1, classes))
        curvature = max(_CURVATURE, problem.curvature(start))
        found, self.n_iter_ = _minimise(
            problem, coordinates.factor(curvature, penalty), curvature, start, int(self.max_iter)
        )
        self._set_linear(coordinates, found[:-1], found[-1], gram(shared, steps).mean)
        self.classes_, self.n_features_in_ = shared.classes, shared.X.shape[1]
        return found


class _Problem:
    """The objective for weights and bias (size + 1, classes) of the reduced coordinates."""

    def __init__(self, inputs: np.ndarray, positions: np.ndarray, classes: int, penalty: float, *, bias: bool) -> None:
        self._inputs, self._positions, self._classes, self._penalty = inputs, positions, classes, penalty
        self.bias = bias

    def curvature(self, weights: np.ndarray) -> float:
        """Returns the mean of p (1 - p), as large as uniform probabilities make it for two classes: the loss's bend."""
        logits = self._inputs @ weights[:-1].astype(np.float32) + weights[-1]
        p = softmax(logits)
        return float((p * (1 - p)).mean() * self._classes / (self._classes - 1))

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective and its gradient (size + 1, classes)."""
        loss, gradient = 0.0, self._penalty * weights
        gradient[-1] = 0
        single = weights[:-1].astype(np.float32)
        for rows in row_blocks(*self._inputs.shape):
            part, labels = self._inputs[rows], self._positions[rows]
            logits = (part @ single).astype(np.float64) + weights[-1]
            logits -= logits.max(axis=1, keepdims=True)
            sums = np.log(np.exp(logits).sum(axis=1))
            chosen = np.arange(len(labels)), labels
            loss += float((sums - logits[chosen]).sum())
            slope = np.exp(logits - sums[:, None])
            slope[chosen] -= 1
            gradient[:-1] += part.T @ slope.astype(np.float32)
            gradient[-1] += slope.sum(axis=0)
        if not self.bias:
            gradient[-1] = 0
        return loss + self._penalty / 2 * float((weights[:-1] ** 2).sum()), gradient


def _float32(coordinates: Any, n: int) -> np.ndarray:
    inputs = np.empty((n, coordinates.size), np.float32)
    for rows in row_blocks(n, coordinates.size):
        inputs[rows] = coordinates.columns(rows).T
    return inputs


def _minimise(
    problem: _Problem, factor: Factor, curvature: float, start: np.ndarray, max_iter: int
) -> tuple[np.ndarray, int]:
    """Returns the weights at the minimum, and the steps that led there."""
    from scipy.optimize import minimize

    steepness = np.sqrt(curvature * len(problem._inputs))  # noqa: SLF001 - one module; of the bias
    shape, last = start.shape, [np.inf, 0.0]

    def weights_of(moved: np.ndarray) -> np.ndarray:
        moved = moved.reshape(shape)
        return np.vstack([start[:-1] + factor.half_transposed(moved[:-1]), start[-1:] + moved[-1:] / steepness])

    def objective(moved: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem(weights_of(moved))
        preconditioned = np.vstack([factor.half(gradient[:-1]), gradient[-1:] / steepness]).ravel()
        last[:] = value, float(preconditioned @ preconditioned)
        return value, preconditioned

    def stop(intermediate_result: Any) -> None:
        if last[1] <= _TOLERANCE * last[0]:
            raise StopIteration

    options = {"maxiter": max_iter, "maxfun": 2 * max_iter, "maxcor": 20, "ftol": 0.0, "gtol": 0.0, "maxls": 30}
    found = minimize(objective, np.zeros(start.size), jac=True, method="L-BFGS-B", callback=stop, options=options)
    if found.nit >= max_iter:
        warnings.warn(f"not converged after {max_iter} steps: raise max_iter, or standardize", stacklevel=2)
    return weights_of(found.x), int(found.nit)
