"""Heads with a closed form: ridge regression on the labels, linear discriminants, nearest means."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from featurebank.heads import discriminant
from featurebank.heads.checks import Check, number
from featurebank.heads.exact import LinearHead, one_hot
from featurebank.heads.gram import gram
from featurebank.heads.reduced import Factor, reduced, solve
from featurebank.heads.shared import Shared
from featurebank.heads.steps import Steps, row_blocks

LOO_PENALTIES = np.logspace(-4, 2, 25)
"""What `alpha="loo"` tries, in units of the mean variance of a coordinate of the features, summed over the images."""


_HIGH = 0.9
"""The leverage above which float32 would not tell 1 - h to five digits."""


class RidgeHead(LinearHead):
    """Least squares on targets of +1 for an image's class and -1 for the others: scikit-learn's `RidgeClassifier`.

    Its answers are no probabilities: they are made by a softmax of the predicted targets (for two classes, a logistic
    function of the one that is +1 for the second), which has the right order and is not calibrated.

    Args:
        alpha: the L2 penalty; several, or "loo" for `LOO_PENALTIES`, take the one whose leave-one-out accuracy is
            best (of equal ones the largest), which is in `alpha_`; then `loo_accuracy_` is that accuracy and
            `loo_accuracies_` has those of all.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        random_state: changes nothing.
    """

    def __init__(
        self,
        *,
        alpha: float | str | Sequence[float] = 1.0,
        standardize: bool = False,
        pca: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.alpha = alpha
        self.standardize = standardize
        self.pca = pca
        self.random_state = random_state

    def _checks(self) -> list[Check]:
        alphas = (
            list(self.alpha) if isinstance(self.alpha, Iterable) and not isinstance(self.alpha, str) else [self.alpha]
        )
        holds = bool(alphas) and (alphas == ["loo"] or all(number("alpha", alpha, above=0).holds for alpha in alphas))
        return [Check("alpha", self.alpha, "a number above 0, several, or 'loo'", holds)]

    def _solve(self, shared: Shared) -> None:
        steps = self.steps()
        coordinates = reduced(shared, steps)
        if isinstance(self.alpha, numbers.Real):
            self.alpha_ = float(self.alpha)
        else:
            self._choose(shared, steps)
        products = shared.once(("ridge", steps), lambda: coordinates.cross(_targets(shared)))
        weights = solve(coordinates.factor(1.0, self.alpha_), products)
        self._set_linear(coordinates, weights, _targets(shared).mean(axis=0), gram(shared, steps).mean)

    def _choose(self, shared: Shared, steps: Steps) -> None:
        alphas = _penalties(self.alpha, shared, steps)
        found = loo_predictions(shared, steps, alphas).argmax(axis=2) == shared.positions
        self.loo_accuracies_ = {float(alpha): float(right.mean()) for alpha, right in zip(alphas, found, strict=True)}
        self.alpha_ = max(self.loo_accuracies_, key=lambda alpha: (self.loo_accuracies_[alpha], alpha))
        self.loo_accuracy_ = self.loo_accuracies_[self.alpha_]


def loo_predictions(shared: Shared, steps: Steps, alphas: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns what ridge regression says of each image when it is fitted on all the others, exactly.

    No head is fitted for that: with the leverage h of an image, its residual without it is r / (1 - h). The steps
    before (standardisation, components) are those of all images.

    Args:
        shared: the training images.
        steps: what is done to them before.
        alphas: the penalties; one decomposition serves them all.

    Returns:
        Logits (alphas, n, classes) float64, as those of `RidgeHead`.
    """
    coordinates, targets = reduced(shared, steps), _targets(shared)
    products, mean = coordinates.cross(targets), targets.mean(axis=0)
    factors = [coordinates.factor(1.0, float(alpha)) for alpha in alphas]
    halves = [factor.half(products) for factor in factors]
    found = np.empty((len(factors), *targets.shape))
    for rows in row_blocks(len(targets), 8 * coordinates.size):
        single = coordinates.columns(rows, np.float32)
        for position, (factor, half) in enumerate(zip(factors, halves, strict=True)):
            leverage, predicted = _leverage(factor, half, single)
            if leverage.max() + 1 / len(targets) > _HIGH:
                leverage, predicted = _leverage(factor, half, coordinates.columns(rows))
            rest = 1 - 1 / len(targets) - leverage
            found[position, rows] = targets[rows] - (targets[rows] - mean - predicted) / rest[:, None]
    return found


def _leverage(factor: Factor, half: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the leverage (m,) of some images, and what their centred targets are predicted to be (m, classes)."""
    part = factor.half(columns)
    return np.einsum("ij,ij->j", part, part, dtype=np.float64), np.asarray(part.T @ half.astype(part.dtype))


def _targets(shared: Shared) -> np.ndarray:
    """Returns (n, classes) targets: +-1, and +-1/2 for two classes, where the softmax looks at their difference."""
    classes = len(shared.classes)
    return (2 * one_hot(shared.positions, classes) - 1) / (2 if classes == 2 else 1)  # noqa: PLR2004


def _penalties(alpha: Any, shared: Shared, steps: Steps) -> np.ndarray:
    if not isinstance(alpha, str):
        return np.array(sorted(float(value) for value in alpha))
    found = gram(shared, steps)
    return np.asarray(LOO_PENALTIES * np.trace(found.matrix) / min(found.n, found.d))


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

    def __init__(
        self,
        *,
        shrinkage: float | str = "auto",
        standardize: bool = False,
        pca: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.shrinkage = shrinkage
        self.standardize = standardize
        self.pca = pca
        self.random_state = random_state

    def _checks(self) -> list[Check]:
        value = self.shrinkage
        holds = value == "auto" or (number("shrinkage", value).holds and float(value) <= 1)
        return [Check("shrinkage", value, "a number from 0 to 1, or 'auto'", holds)]

    def _solve(self, shared: Shared) -> None:
        steps = self.steps()
        if self.shrinkage == "auto":
            weights, means = shared.once(("lda", steps), lambda: discriminant.ledoit_wolf(shared, steps))
        else:
            weights, means = discriminant.shrunk(shared, steps, float(self.shrinkage))
        found, counts = gram(shared, steps), np.bincount(shared.positions)
        bias = np.log(counts / found.n) - (weights * means.T).sum(axis=0) / 2
        if self.shrinkage == "auto" and steps.pca is None:
            self.weights_ = weights / found.scale[:, None]
            self.bias_ = bias - found.mean @ self.weights_
        else:
            self._set_linear(reduced(shared, steps), weights, bias, found.mean)


class NearestMeanHead(LinearHead):
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

    def __init__(
        self,
        *,
        metric: str = "euclidean",
        standardize: bool = False,
        pca: int | None = None,
        whiten: bool = False,
        random_state: int = 0,
    ) -> None:
        self.metric = metric
        self.standardize = standardize
        self.pca = pca
        self.whiten = whiten
        self.random_state = random_state

    def _checks(self) -> list[Check]:
        return [
            Check("metric", self.metric, "euclidean or cosine", self.metric in ("euclidean", "cosine")),
            Check("whiten", self.whiten, "false where pca is none", not self.whiten or self.pca is not None),
            Check("metric", self.metric, "euclidean where features are standardised or reduced", not self._is_mixed()),
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
        steps, counts = self.steps(), np.bincount(shared.positions)
        found, members = gram(shared, steps), one_hot(shared.positions, len(counts)) / counts
        if steps.pca is None:
            means = found.cross(members)
            squares = sum(float((found.centred(rows) ** 2).sum()) for rows in row_blocks(found.n, found.d))
            lifted = means / found.scale[:, None]
        else:
            coordinates = reduced(shared, steps)
            means, squares = coordinates.cross(members), coordinates.energy
            lifted = coordinates.lift(means)
        lengths = np.linalg.norm(means, axis=0)
        to = np.where(lengths > 0, lengths, 1) if self.metric == "cosine" else np.ones(len(counts))
        spread = (squares + counts @ (lengths**2 * (1 / to**2 - 2 / to))) / found.n
        spread = max(spread, squares / found.n * np.finfo(np.float32).eps, np.finfo(np.float32).tiny)
        self.weights_ = lifted / to / spread
        self.bias_ = -((lengths / to) ** 2) / (2 * spread) - found.mean @ self.weights_
