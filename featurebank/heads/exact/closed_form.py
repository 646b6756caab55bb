"""Heads with a closed form: ridge regression on the labels, linear discriminants, nearest means."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.heads.exact import discriminant
from featurebank.heads.exact.base import LinearHead, one_hot
from featurebank.heads.exact.coordinates import Factor, reduced, solve
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps, row_blocks
from featurebank.heads.weighted import WeightedHead
from featurebank.system.validation import ParameterCheck, number
from featurebank.training.class_weights import ClassWeight

LOO_PENALTIES = np.logspace(-4, 2, 25)
"""What `alpha="loo"` tries, in units of the mean variance of a coordinate of the features, summed over the images."""


_HIGH = 0.9
"""The leverage above which float32 has fewer than five digits of 1 - h."""


@dataclass(kw_only=True, eq=False, repr=False)
class RidgeHead(WeightedHead, LinearHead):
    """Least squares on targets of +1 for an image's class and -1 for the others: scikit-learn's `RidgeClassifier`.

    Its answers are no probabilities: they are made by a softmax of the predicted targets (for two classes, a logistic
    function of the one that is +1 for the second), which has the right order and is not calibrated.

    Args:
        alpha: the L2 penalty; several, or "loo" for `LOO_PENALTIES`, take the one whose leave-one-out accuracy is
            best (of equal ones the largest), which is in `alpha_`; then `loo_accuracy_` is that accuracy and
            `loo_accuracies_` has those of all.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        random_state: changes nothing.
    """

    alpha: float | str | Sequence[float] = 1.0
    standardize: bool = False
    pca: int | None = None
    class_weight: ClassWeight = None
    random_state: int = 0

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        width = self._inputs_width(shape)
        return images * width * min(images, width) / 20

    def _checks(self) -> list[ParameterCheck]:
        alphas = (
            list(self.alpha) if isinstance(self.alpha, Iterable) and not isinstance(self.alpha, str) else [self.alpha]
        )
        holds = bool(alphas) and (alphas == ["loo"] or all(number("alpha", alpha, above=0).holds for alpha in alphas))
        return [ParameterCheck("alpha", self.alpha, "a number above 0, several, or 'loo'", holds)]

    def _solve(self, shared: Shared) -> None:
        steps = self.steps()
        coordinates = reduced(shared, steps)
        if isinstance(self.alpha, numbers.Real):
            self.alpha_ = float(self.alpha)
        else:
            self._choose(shared, steps)
        weights = solve(coordinates.factor(1.0, self.alpha_), _products(shared, steps))
        self._set_linear(coordinates, weights, _mean_target(shared), gram(shared, steps).mean)

    def _choose(self, shared: Shared, steps: Steps) -> None:
        alphas = _penalties(self.alpha, shared, steps)
        right = np.zeros(len(alphas))
        for position, rows, logits in _left_out(shared, steps, alphas):
            hits = logits.argmax(axis=1) == shared.positions[rows]
            right[position] += hits.sum() if shared.weights is None else hits @ shared.weights[rows]
        shares = right / shared.total
        self.loo_accuracies_ = {float(alpha): float(share) for alpha, share in zip(alphas, shares, strict=True)}
        self.alpha_ = max(self.loo_accuracies_, key=lambda alpha: (self.loo_accuracies_[alpha], alpha))
        self.loo_accuracy_ = self.loo_accuracies_[self.alpha_]


def loo_predictions(shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns the exact leave-one-out predictions of ridge regression.

    No further head is fitted: if h is the leverage of an image and r its residual, the residual of a fit without the
    image is r / (1 - h). The preceding steps (standardisation, components) use all images.

    Args:
        shared: the training images.
        steps: what is done to them before.
        alphas: the penalties; one decomposition serves them all.

    Returns:
        Logits (alphas, n, classes) float64, as those of `RidgeHead`.
    """
    logits = np.empty((len(alphas), len(shared.positions), len(shared.classes)))
    for position, rows, part in _left_out(shared, steps, alphas):
        logits[position, rows] = part
    return logits


def _left_out(
    shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray
) -> Iterator[tuple[int, slice, np.ndarray]]:
    """Yields the predictions of `loo_predictions` part by part: the number of the penalty, rows, (m, classes)."""
    coordinates, mean, n = reduced(shared, steps), _mean_target(shared), len(shared.positions)
    weights = shared.weights
    factors = [coordinates.factor(1.0, float(alpha)) for alpha in alphas]
    halves = [factor.half(_products(shared, steps)) for factor in factors]
    for rows in row_blocks(n, max(8 * coordinates.size, len(mean))):
        own = 1 / n if weights is None else weights[rows] / shared.total
        single, targets = coordinates.columns(rows, np.float32), _targets(shared, rows)
        for position, (factor, half) in enumerate(zip(factors, halves, strict=True)):
            leverage, predicted = _leverage(factor, half, single)
            if leverage.max() + np.max(own) > _HIGH:
                leverage, predicted = _leverage(factor, half, coordinates.columns(rows))
            rest = 1 - own - leverage
            if weights is not None:
                predicted = predicted / np.sqrt(weights[rows])[:, None]
            yield position, rows, targets - (targets - mean - predicted) / rest[:, None]


def _leverage(factor: Factor, half: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leverage (m,) of some images, and what their centred targets are predicted to be (m, classes)."""
    part = factor.half(columns)
    return np.einsum("ij,ij->j", part, part, dtype=np.float64), np.asarray(part.T @ half.astype(part.dtype))


def _unit(shared: Shared) -> float:
    """Returns the target of an image's own class: 1, or 1/2 of two classes, where the softmax sees their difference."""
    return 0.5 if len(shared.classes) == 2 else 1.0  # noqa: PLR2004


def _targets(shared: Shared, rows: slice) -> np.ndarray:
    """Returns the targets (m, classes) of some images: +-1, and +-1/2 for two classes."""
    return (2 * one_hot(shared.positions[rows], len(shared.classes)) - 1) * _unit(shared)


def _mean_target(shared: Shared) -> np.ndarray:
    """Returns the mean of the targets of all images (classes,)."""
    return np.asarray((2 * shared.counts / shared.total - 1) * _unit(shared))


def _products(shared: Shared, steps: Steps) -> np.ndarray:
    """Returns F'Y (size, classes) of the coordinates and the targets."""

    def make() -> np.ndarray:
        sums = reduced(shared, steps).class_sums(shared.positions, len(shared.classes))
        return np.asarray((2 * sums - sums.sum(axis=1, keepdims=True)) * _unit(shared))

    return shared.once(("ridge", steps), make)


def _penalties(alpha: Any, shared: Shared, steps: Steps) -> np.ndarray:
    if not isinstance(alpha, str):
        return np.array(sorted(float(value) for value in alpha))
    scatter = gram(shared, steps)
    return np.asarray(LOO_PENALTIES * np.trace(scatter.matrix) / min(scatter.n, scatter.d))


@dataclass(kw_only=True, eq=False, repr=False)
class LDAHead(LinearHead):
    """Linear discriminants with a shrunk covariance, as scikit-learn's `LinearDiscriminantAnalysis`.

    Its probabilities are those of normal distributions with one covariance: calibrated as far as these are true.

    Args:
        shrinkage: from 0 (the covariance within the classes as it is; it needs many more images than features) to 1
            (the same variance in every direction), or "auto": Ledoit and Wolf's for each class.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        random_state: changes nothing.
    """

    shrinkage: float | str = "auto"
    standardize: bool = False
    pca: int | None = None
    random_state: int = 0

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        width = self._inputs_width(shape)
        return images * width * min(images, width) / 10

    def working_bytes(self, images: int, shape: tuple[int, ...], classes: int) -> int:
        """Returns about how many bytes the head takes while it is fitted; see `ExactHead`."""
        rows = 2 * 8 * images * math.prod(shape) if self.shrinkage == "auto" else 0
        return rows + super().working_bytes(images, shape, classes)

    def _checks(self) -> list[ParameterCheck]:
        value = self.shrinkage
        holds = value == "auto" or (number("shrinkage", value).holds and float(value) <= 1)
        return [ParameterCheck("shrinkage", value, "a number from 0 to 1, or 'auto'", holds)]

    def _solve(self, shared: Shared) -> None:
        steps = self.steps()
        if self.shrinkage == "auto":
            weights, means = shared.once(("lda", steps), lambda: discriminant.ledoit_wolf(shared, steps))
        else:
            weights, means = discriminant.shrunk(shared, steps, float(self.shrinkage))
        scatter, counts = gram(shared, steps), np.bincount(shared.positions)
        bias = np.log(counts / scatter.n) - (weights * means.T).sum(axis=0) / 2
        if self.shrinkage == "auto" and steps.pca is None:
            self.weights_ = weights / scatter.scale[:, None]
            self.bias_ = bias - scatter.mean @ self.weights_
        else:
            self._set_linear(reduced(shared, steps), weights, bias, scatter.mean)


@dataclass(kw_only=True, eq=False, repr=False)
class NearestMeanHead(WeightedHead, LinearHead):
    """The class whose mean is nearest, as scikit-learn's `NearestCentroid`.

    Its probabilities are the softmax of minus half the squared distances, in units of the mean squared distance
    between a training image and its class's mean: cautious, and not calibrated.

    Args:
        metric: "euclidean", or "cosine" (rows and means are brought to the length 1 first).
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        whiten: bring these components to variance 1.
        random_state: changes nothing.
    """

    metric: str = "euclidean"
    standardize: bool = False
    pca: int | None = None
    whiten: bool = False
    random_state: int = 0

    def cost(self, images: int, shape: tuple[int, ...], classes: int, validation_images: int = 0) -> float:
        """Returns about how many nanoseconds its training takes; see `Head.cost`."""
        return float(images * self._inputs_width(shape))

    def _checks(self) -> list[ParameterCheck]:
        return [
            ParameterCheck("metric", self.metric, "euclidean or cosine", self.metric in ("euclidean", "cosine")),
            ParameterCheck("whiten", self.whiten, "false where pca is none", not self.whiten or self.pca is not None),
            ParameterCheck(
                "metric", self.metric, "euclidean where features are standardised or reduced", not self._is_mixed()
            ),
        ]

    def _is_mixed(self) -> bool:
        return self.metric == "cosine" and (self.standardize or self.pca is not None)

    def steps(self) -> Steps:
        """Returns what is done to the features before."""
        cosine = self.metric == "cosine"
        return Steps(
            normalize=cosine, standardize=self.standardize, pca=self.pca, whiten=self.whiten, center=not cosine
        )

    def _solve(self, shared: Shared) -> None:
        steps, counts = self.steps(), shared.counts
        scatter = gram(shared, steps)
        if steps.pca is None:
            means = scatter.class_sums(shared.positions, len(counts)) / counts
            squares = sum(float((scatter.centred(rows) ** 2).sum()) for rows in row_blocks(scatter.n, scatter.d))
            lifted = means / scatter.scale[:, None]
        else:
            coordinates = reduced(shared, steps)
            means, squares = coordinates.class_sums(shared.positions, len(counts)) / counts, coordinates.energy
            lifted = coordinates.lift(means)
        lengths = np.linalg.norm(means, axis=0)
        to = np.where(lengths > 0, lengths, 1) if self.metric == "cosine" else np.ones(len(counts))
        spread = (squares + counts @ (lengths**2 * (1 / to**2 - 2 / to))) / scatter.total
        spread = max(spread, squares / scatter.total * np.finfo(np.float32).eps, np.finfo(np.float32).tiny)
        self.weights_ = lifted / to / spread
        self.bias_ = -((lengths / to) ** 2) / (2 * spread) - scatter.mean @ self.weights_
