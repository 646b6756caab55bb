"""Exact leave-one-out predictions of kernel ridge regression, from one factorisation of the kernel.

Of more images than a kernel can hold, `nystroem` makes features whose products approximate it, and `linear_left_out`
does the same for these.

Targets, kernel and penalty are those of `KernelRidgeHead`, but its intercept is fitted with the weights, so that the
predictions for an image without itself are exact: with K the kernel, A = K + alpha I and M the inverse of A without the
direction of the intercept, the residual of image i, predicted without i, is (M T)_i / M_ii. The same holds for groups
of images, with blocks of M.

References:
    Williams, Seeger, "Using the Nyström method to speed up kernel machines", NIPS 2000.
    Cawley, Talbot, "Fast exact leave-one-out cross-validation of sparse least-squares support vector machines", Neural
    Networks 17, 2004.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.exact.base import one_hot
from featurebank.heads.exact.kernel_base import distances_of
from featurebank.heads.exact.transforms import Steps
from featurebank.words import every

STEPS = Steps(power=0.5, normalize=True)
"""What is done to features before: few strong channels should not decide a distance."""
ALPHA = 1.0
"""The penalty, which was near the best for 100 to 2500 photos."""


@dataclass(frozen=True)
class KernelLeftOut:
    """Kernel ridge regression on some images, which predicts these without themselves and others with all of them."""

    logits: np.ndarray
    """(n, classes) float64, of each image by the regression on all others; in the scale of the targets, -1 and 1."""
    weights: np.ndarray
    """(n, classes) float64, of the regression on all images."""
    bias: np.ndarray
    """(classes,) float64."""

    def predict(self, kernel: np.ndarray) -> np.ndarray:
        """Returns the logits (m, classes) of other images from their kernel (m, n) to the images of the regression."""
        return np.asarray(kernel @ self.weights + self.bias)


def kernel_left_out(
    kernel: np.ndarray, positions: np.ndarray, classes: int, alpha: float = ALPHA, *, groups: np.ndarray | None = None
) -> KernelLeftOut:
    """Fits kernel ridge regression, and predicts each image without itself, or without its group.

    Args:
        kernel: (n, n) float64, symmetric and positive.
        positions: (n,) the class of each image, from 0.
        classes: the number of classes; some may have no image.
        alpha: the penalty.
        groups: (n,) numbers, equal for images that are left out together; None to leave each out alone.

    Raises:
        HeadInputError: there is one image or one group alone, or the kernel is singular.

    Example:
        >>> X = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> kernel_left_out(np.exp(-distances_of(X, X)), np.array([0, 0, 1, 1]), 2, 0.1).logits.argmax(axis=1)
        array([0, 0, 1, 1])
    """
    from scipy.linalg import lapack

    _check_rest(len(kernel), groups)
    matrix = np.array(kernel, np.float64, order="F")
    matrix[np.diag_indices_from(matrix)] += alpha
    factor, failed = lapack.dpotrf(matrix, lower=1, overwrite_a=1)
    if failed:
        message = f"the kernel is singular with alpha {alpha:g}: take a larger one"
        raise HeadInputError(message)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    targets = 2 * one_hot(positions, classes) - 1
    sums = inverse.sum(axis=1)
    bias = (sums @ targets) / sums.sum()
    weights = inverse @ (targets - bias)
    residuals = weights / (inverse.diagonal() - sums**2 / sums.sum())[:, None]
    for rows in _together(groups):
        block = inverse[np.ix_(rows, rows)] - np.outer(sums[rows], sums[rows]) / sums.sum()
        residuals[rows] = np.linalg.solve(block, weights[rows])
    return KernelLeftOut(targets - residuals, weights, bias)


def _check_rest(images: int, groups: np.ndarray | None) -> None:
    if images < 2:  # noqa: PLR2004 - without the only image, nothing is left
        message = f"there is {images} image: expected two at least, because one is left out"
        raise HeadInputError(message)
    if groups is not None and (groups == groups[0]).all():
        message = f"{every(images, 'image')} are of one group: expected two groups at least, because one is left out"
        raise HeadInputError(message)


def _together(groups: np.ndarray | None) -> Iterator[np.ndarray]:
    """Yields the rows of each group of several images."""
    if groups is None:
        return
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(rows) > 1:
            yield rows


def rbf_distances(features: np.ndarray) -> tuple[np.ndarray, float]:
    """Returns the squared distances (n, n) float64 of prepared features, and the gamma of a radial kernel on them.

    Args:
        features: (n, d) float32 after `STEPS.rows`.
    """
    inputs = np.asarray(features, np.float64)
    variance = float(inputs.var())
    return distances_of(inputs, inputs), 1 / (inputs.shape[1] * variance) if variance else 1.0


@dataclass(frozen=True)
class LinearLeftOut:
    """Ridge regression on some images, which predicts these without themselves and others with all of them."""

    logits: np.ndarray
    """(n, classes) float64, of each image by the regression on all others."""
    weights: np.ndarray
    """(d + 1, classes) float64, of the regression on all images; the last row is the intercept."""

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Returns the logits (m, classes) of other images (m, d)."""
        return np.asarray(inputs @ self.weights[:-1] + self.weights[-1])


def linear_left_out(
    inputs: np.ndarray, positions: np.ndarray, classes: int, alpha: float = ALPHA, *, groups: np.ndarray | None = None
) -> LinearLeftOut:
    """Fits ridge regression whose intercept is not penalised; predicts each image without itself, or without its group.

    Args:
        inputs: (n, d) float64.
        positions: (n,) the class of each image, from 0.
        classes: the number of classes; some may have no image.
        alpha: the penalty.
        groups: (n,) numbers, equal for images that are left out together; None to leave each out alone.

    Raises:
        HeadInputError: there is one image or one group alone.

    Example:
        >>> X = np.array([[0.0], [0.1], [1.0], [1.1]])
        >>> linear_left_out(X, np.array([0, 0, 1, 1]), 2, 0.1).logits.argmax(axis=1)
        array([0, 0, 1, 1])
    """
    from scipy.linalg import cholesky, solve_triangular

    _check_rest(len(inputs), groups)
    mean, targets = inputs.mean(axis=0), 2 * one_hot(positions, classes) - 1
    centred = inputs - mean
    matrix = centred.T @ centred
    matrix[np.diag_indices_from(matrix)] += alpha
    half = solve_triangular(cholesky(matrix, lower=True), centred.T, lower=True)
    middle = targets.mean(axis=0)
    leverage = (half**2).sum(axis=0) + 1 / len(inputs)
    product = half @ (targets - middle)
    fitted = half.T @ product + middle
    weights = np.linalg.solve(matrix, centred.T @ (targets - middle))
    residuals = (targets - fitted) / (1 - leverage)[:, None]
    for rows in _together(groups):
        block = np.eye(len(rows)) - half[:, rows].T @ half[:, rows] - 1 / len(inputs)
        residuals[rows] = np.linalg.solve(block, (targets - fitted)[rows])
    return LinearLeftOut(targets - residuals, np.vstack([weights, middle - mean @ weights]))


def nystroem(features: np.ndarray, count: int, *, seed: int = 0) -> np.ndarray:
    """Returns features (n, count or fewer) float64 whose products approximate the radial kernel of prepared features.

    Args:
        features: (n, d) float32 after `STEPS.rows`.
        count: the number of images that are the landmarks, a random sample.
        seed: of the sample.
    """
    inputs = np.asarray(features, np.float64)
    variance = float(inputs.var())
    gamma = 1 / (inputs.shape[1] * variance) if variance else 1.0
    landmarks = inputs[np.sort(np.random.default_rng(seed).permutation(len(inputs))[:count])]
    values, vectors = np.linalg.eigh(np.exp(-gamma * distances_of(landmarks, landmarks)))
    keep = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return np.asarray(np.exp(-gamma * distances_of(inputs, landmarks)) @ (vectors[:, keep] / np.sqrt(values[keep])))
