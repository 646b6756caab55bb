"""Heads with a closed form: ridge regression on the labels, linear discriminants, nearest means."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from featurebank.heads.exact import discriminant, streamed_discriminant
from featurebank.heads.exact.base import LinearHead
from featurebank.heads.exact.coordinates import reduced, solve
from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.left_out import loo_accuracies, mean_target, penalties, products
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.exact.transforms import Steps
from featurebank.heads.weighted import WeightedHead
from featurebank.system.validation import ParameterCheck, number
from featurebank.training.class_weights import ClassWeight


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

    streams: ClassVar[bool] = True

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
        weights = solve(coordinates.factor(1.0, self.alpha_), products(shared, steps))
        self._set_linear(coordinates, weights, mean_target(shared), gram(shared, steps).mean)

    def _choose(self, shared: Shared, steps: Steps) -> None:
        alphas = penalties(self.alpha, shared, steps)
        shares = loo_accuracies(shared, steps, alphas)
        self.loo_accuracies_ = {float(alpha): float(share) for alpha, share in zip(alphas, shares, strict=True)}
        self.alpha_ = max(self.loo_accuracies_, key=lambda alpha: (self.loo_accuracies_[alpha], alpha))
        self.loo_accuracy_ = self.loo_accuracies_[self.alpha_]


@dataclass(kw_only=True, eq=False, repr=False)
class LDAHead(WeightedHead, LinearHead):
    """Linear discriminants with a shrunk covariance, as scikit-learn's `LinearDiscriminantAnalysis`.

    Its probabilities are those of normal distributions with one covariance: calibrated as far as these are true.

    Args:
        shrinkage: from 0 (the covariance within the classes as it is; it needs many more images than features) to 1
            (the same variance in every direction), or "auto": Ledoit and Wolf's for each class.
        standardize: bring each feature to mean 0 and variance 1 over the training images.
        pca: keep so many principal components; None keeps the features as they are.
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        random_state: changes nothing.
    """

    streams: ClassVar[bool] = True

    shrinkage: float | str = "auto"
    standardize: bool = False
    pca: int | None = None
    class_weight: ClassWeight = None
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
            weights, means = shared.once(("lda", steps), lambda: _ledoit_wolf(shared, steps))
        else:
            weights, means = discriminant.shrunk(shared, steps, float(self.shrinkage))
        scatter, counts = gram(shared, steps), shared.counts
        bias = np.log(counts / shared.total) - (weights * means.T).sum(axis=0) / 2
        if self.shrinkage == "auto" and steps.pca is None:
            self.weights_ = weights / scatter.scale[:, None]
            self.bias_ = bias - scatter.mean @ self.weights_
        else:
            self._set_linear(reduced(shared, steps), weights, bias, scatter.mean)


def _ledoit_wolf(shared: Shared, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(shared, StreamedShared):
        return streamed_discriminant.ledoit_wolf(shared, steps)
    return discriminant.ledoit_wolf(shared, steps)


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
        class_weight: "balanced", a list of numbers in the order of `classes_`, or a dictionary {label: number}.
        random_state: changes nothing.
    """

    streams: ClassVar[bool] = True

    metric: str = "euclidean"
    standardize: bool = False
    pca: int | None = None
    whiten: bool = False
    class_weight: ClassWeight = None
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

    def reads_blocks(self, images: int, width: int) -> bool:
        """Returns whether the head can read so many vectors in blocks; only components need products of features."""
        return self.pca is None or super().reads_blocks(images, width)

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
            squares = scatter.energy
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
