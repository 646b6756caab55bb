"""What a part of the training images says about a network: exact leave-one-out ridge, and LogME.

Both need no validation image and no second fit. The race ranks by the log loss of the left-out images: it separates
networks better than their accuracy, because it uses how sure the predictions are; see the design notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.kernel_left_out import kernel_left_out
from featurebank.heads.exact.left_out import loo_predictions
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.system.runtime import limited_blas

PENALTIES = np.logspace(-4, 2, 9)
"""The penalties that are tried, in units of the mean variance of a coordinate, summed over the images."""
_ROUNDS = 100
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class PartEvidence:
    """The scores of one network on a part."""

    losses: np.ndarray
    """(n,) float64, the log loss of each image by a head that was trained on the others."""
    right: np.ndarray
    """(n,) bool, whether that head recognises the image."""
    logme: float
    """The logarithm of the evidence for each image and class; larger is better."""

    @property
    def accuracy(self) -> float:
        """The share of the images that are recognised."""
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """The mean log loss."""
        return float(self.losses.mean())


def evidence_of(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> PartEvidence:
    """Scores a network by its features.

    Args:
        features: (n, ...) float32; maps are flattened.
        labels: (n,) integers, of at least two classes.
        groups: (n,) the group of each image, so that each image is predicted without all of its group; None to leave
            out each alone.

    Raises:
        HeadInputError: the features are not finite, all labels are equal, or all images are of one group.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(60) % 3
        >>> features = np.eye(3)[labels] * 3 + rng.normal(size=(60, 3))
        >>> found = evidence_of(features.astype(np.float32), labels)
        >>> found.accuracy > 0.9, bool(found.loss < np.log(3))
        (True, True)
    """
    shared = Shared(features, labels)
    with limited_blas():
        losses, right = _left_out(shared, groups)
        return PartEvidence(losses, right, logme(shared.X, shared.positions))


def _left_out(shared: Shared, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns losses and right answers with the penalty and the temperature of the smallest log loss."""
    from featurebank.advice.label_errors import calibrated  # it imports scikit-learn

    rows = np.arange(len(shared.positions))
    best, least = np.empty(0), np.inf
    for logits in _single_logits(shared) if groups is None else _group_logits(shared, groups):
        logs, loss, _ = calibrated(logits, shared.positions)
        if loss < least:
            best, least = logs, loss
    return -best[rows, shared.positions], best.argmax(axis=1) == shared.positions


def _single_logits(shared: Shared) -> Iterator[np.ndarray]:
    scatter = gram(shared, Steps())
    for penalty in PENALTIES * np.trace(scatter.matrix) / min(scatter.n, scatter.d):
        yield loo_predictions(shared, Steps(), [penalty])[0]


def _group_logits(shared: Shared, groups: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the same predictions by the products of the images, without all images of the same group."""
    rows = shared.X - shared.X.mean(axis=0, dtype=np.float64)
    kernel = rows @ rows.T
    kernel *= min(rows.shape) / max(float(np.trace(kernel)), float(np.finfo(np.float64).tiny))
    for penalty in PENALTIES.tolist():
        yield kernel_left_out(kernel, shared.positions, len(shared.classes), penalty, groups=groups).logits


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Returns the logarithm of the maximum evidence of a linear model, for each image, averaged over the classes.

    It is computed exactly from the singular values of the features: the two variances are found by MacKay's fixed-point
    iteration, in which a step costs O(min(n, d)).

    Args:
        features: (n, d).
        labels: (n,) integers.

    References:
        You, Liu, Wang, Long, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021,
        arXiv:2102.11005.
    """
    matrix = np.asarray(features, np.float64).reshape(len(features), -1)
    count, width = matrix.shape
    if count <= width:
        squares, left = np.linalg.eigh(matrix @ matrix.T)
    else:
        squares, right = np.linalg.eigh(matrix.T @ matrix)
        left = matrix @ (right / np.sqrt(np.maximum(squares, np.finfo(float).tiny)))
    whole = squares > squares.max(initial=0.0) * max(count, width) * np.finfo(float).eps
    squares, left = squares[whole], left[:, whole]
    targets = [(labels == label).astype(np.float64) for label in np.unique(labels)]
    return float(np.mean([_evidence(squares, left.T @ y, float(y @ y), count, width) for y in targets]))


def _evidence(squares: np.ndarray, projected: np.ndarray, energy: float, count: int, width: int) -> float:
    """Returns the maximum of the log evidence of one target, divided by the number of images.

    Args:
        squares: (r,) the squared singular values of the features.
        projected: (r,) the target in their left singular vectors.
        energy: the sum of the target's squares.
        count: the number of images.
        width: the number of features.
    """
    parts, tiny = projected**2, np.finfo(float).tiny
    outside = max(energy - float(parts.sum()), 0.0)
    prior, noise = 1.0, 1.0
    for _ in range(_ROUNDS):
        before = prior / noise
        shrink = noise * squares / (prior + noise * squares)
        size = float((parts * shrink**2 / squares).sum())
        residual = outside + float((parts * (1 - shrink) ** 2).sum())
        free = float(shrink.sum())
        prior, noise = free / max(size, tiny), max(count - free, 1e-9) / max(residual, 1e-12)
        if abs(prior / noise - before) <= _TOLERANCE * before:
            break
    shrink = noise * squares / (prior + noise * squares)
    size = float((parts * shrink**2 / squares).sum())
    residual = outside + float((parts * (1 - shrink) ** 2).sum())
    rank = len(squares)
    determinant = float(np.log(prior + noise * squares).sum()) + (width - rank) * np.log(prior)
    total = width * np.log(prior) + count * np.log(noise) - noise * residual - prior * size - determinant
    return float(total - count * np.log(2 * np.pi)) / (2 * count)
