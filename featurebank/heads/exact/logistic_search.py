"""The search for the optimum of logistic regression: L-BFGS in variables that a preconditioner brings to one scale."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from featurebank.heads.exact.coordinates import Factor

TOLERANCES: dict[Any, float] = {np.float32: 1e-7, np.float64: 1e-10}
"""Of the squared length of the preconditioned gradient, relative to the objective, by the precision of the products.
What the objective could still fall is half of this over the least curvature: 1 were the preconditioner the Hessian."""

_CLOSE = 100
"""So many times the tolerance will do where rounding shows no further descent."""

EXACT_NUMBERS = 1 << 20
"""Up to so many numbers, products are float64: they cost little then."""

_ROUND = 30
"""Steps before the preconditioner is made anew, from the curvature at each image."""

CURVATURE = 1e-3
"""The least curvature of the loss that a preconditioner reckons with, relative to the largest possible one."""


CORRECTIONS = 20
"""Steps and gradients that L-BFGS remembers."""


class Problem(Protocol):
    """An objective for weights and bias (size + 1, classes), with what approximates its Hessian."""

    @property
    def tolerance(self) -> float:
        """Where the search may end."""

    def bound(self, weights: np.ndarray) -> tuple[Factor, float]:
        """Returns the factor of the Hessian as if all images had the mean curvature that they have near some weights.

        And the root of its entry for the bias.
        """

    def local(self, weights: np.ndarray) -> tuple[Factor, float]:
        """Returns the same of the Hessian with the curvature of each image, which costs a product of all features."""

    def __call__(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the objective and its gradient (size + 1, classes)."""


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Returns the logarithms of the softmax of logits (m, classes) float64, in place."""
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits


def minimise(problem: Problem, start: np.ndarray, max_iter: int) -> tuple[np.ndarray, int, bool]:
    """Returns the weights at the minimum, the steps that led there, and whether it is one."""
    steps, weights, left = 0, start, np.inf
    while steps < max_iter:
        factor, steepness = problem.local(weights) if steps else problem.bound(weights)
        weights, done, left = _round(problem, weights, factor, steepness, min(_ROUND, max_iter - steps))
        steps += done
        if left <= problem.tolerance or not done:
            break
    return weights, steps, left <= _CLOSE * problem.tolerance


def _round(
    problem: Problem, start: np.ndarray, factor: Factor, steepness: float, most: int
) -> tuple[np.ndarray, int, float]:
    """Searches with one preconditioner; returns where that ends, its steps, and what `tolerance` is compared with."""
    from scipy.optimize import minimize

    last = [np.inf, 1.0]

    def weights_of(moved: np.ndarray) -> np.ndarray:
        moved = moved.reshape(start.shape)
        return np.asarray(start + np.vstack([factor.half_transposed(moved[:-1]), moved[-1:] / steepness]))

    def objective(moved: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = problem(weights_of(moved))
        slope = np.vstack([factor.half(gradient[:-1]), gradient[-1:] / steepness]).ravel()
        last[:] = float(slope @ slope), value
        return value, slope

    def stop(intermediate_result: Any) -> None:  # scipy looks for this name
        if last[0] <= problem.tolerance * last[1]:
            raise StopIteration

    options = {"maxiter": most, "maxfun": 3 * most, "maxcor": CORRECTIONS, "ftol": 0.0, "gtol": 0.0, "maxls": 10}
    result = minimize(objective, np.zeros(start.size), jac=True, method="L-BFGS-B", callback=stop, options=options)
    return weights_of(result.x), int(result.nit), float(result.jac @ result.jac) / max(float(result.fun), 1e-300)
