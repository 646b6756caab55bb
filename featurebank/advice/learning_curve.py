"""How much more images would help: the error of a head on nested subsets, and what a power law says beyond them.

The head is kernel ridge regression of `heads/exact/kernel_left_out.py`. Each subset grows through the images in the
order of their digests, which is random, from one of several starts. Each size is measured on all images: those of the
subset are predicted without themselves, the others by the whole subset. So all sizes are measured on the same images,
and their differences are far more certain than the errors themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from featurebank.advice.power_law import PowerLaws, fit_power_laws
from featurebank.errors import HeadInputError
from featurebank.heads.exact.kernel_left_out import (
    STEPS,
    kernel_left_out,
    linear_left_out,
    nystroem,
    rbf_distances,
)
from featurebank.statistics import proportion_interval
from featurebank.system.runtime import limited_blas
from featurebank.words import counted

KERNEL_IMAGES = 3000
"""Up to so many images, the kernel is exact; beyond, `LANDMARKS` approximate it, and there are fewer starts."""
LANDMARKS = 1000
MOST_IMAGES = 12_000
"""Of more images, a random sample of so many is measured; the curve then begins at their number."""
LEAST_IMAGES = 60
"""Fewer images have no curve: the smallest subset would have fewer than eight."""
STARTS = 8
FEW_STARTS = 3
"""Of subsets that are more than half of the images, and of more than `KERNEL_IMAGES`."""
SIZES = 9
LEAST_SIZES = 4
"""A curve of three parameters needs one more."""
SMALLEST = 1 / 8
"""The smallest subset, as a part of all images."""
REPLICATES = 400
LEVEL = 0.95


@dataclass(frozen=True)
class Forecast:
    """What a learning curve says about a larger number of images."""

    images: int
    """The number of all images."""
    more: int
    """The number of those that are not there yet."""
    error: float
    """The forecast error, a share."""
    interval: tuple[float, float]
    """The 95 % interval of the error that a head with so many images would have."""
    gain: float
    """How much the accuracy would rise."""
    gain_interval: tuple[float, float]
    """The 95 % interval of the rise that a head with so many images would have, with the luck of which images."""


@dataclass(frozen=True)
class LearningCurve:
    """The error of a head on nested subsets of the images, and the power law through it."""

    sizes: np.ndarray
    """(s,) int64, the numbers of images."""
    errors: np.ndarray
    """(s,) float64, the mean error of each size over the starts, each measured on all images."""
    deviations: np.ndarray
    """(s,) float64, the standard deviation of a size's error over the starts."""
    laws: PowerLaws
    measured: int
    """The number of independent images, or of groups, on which each error was measured."""
    misfit: float
    """The root of the mean squared distance of the errors from the law, a share."""
    spread: np.ndarray
    """(replicates,) float64, what the choice of the images changes in the error of a head, drawn for each replicate."""

    def forecast(self, images: int, since: int | None = None) -> Forecast:
        """Returns the forecast for a number of images in all.

        Args:
            images: the number.
            since: the number of images that there are; None for those of the largest subset.
        """
        there = int(self.sizes[-1]) if since is None else since
        now, then = self.laws.at(float(there)), self.laws.at(float(images))
        gain, error = now - then, float(np.median(then))
        low, high = _interval(then + self.spread)
        least = proportion_interval(error, self.measured)  # of errors that nobody made, a bootstrap draws none
        interval = (max(0.0, min(low, least[0])), max(high, least[1]))
        return Forecast(images, images - there, error, interval, float(np.median(gain)), _interval(gain - self.spread))


def learning_curve(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> LearningCurve:
    """Measures how the error falls with the number of images, and fits a power law; see `subset_answers`.

    Args:
        features: (n, d) float32, in a random order, as the rows of a bank are.
        labels: (n,) integers.
        groups: (n,) numbers, equal for images that belong together: subsets grow by whole groups, each image is
            predicted without its group, and the bootstrap draws groups. None for images that do not.
        seed: of the bootstrap.

    Raises:
        HeadInputError: a kernel is singular, or the groups are too large.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 2, 80)
        >>> features = rng.uniform(0, 2, (80, 4)) + labels[:, None]
        >>> forecast = learning_curve(features.astype(np.float32), labels).forecast(160)
        >>> forecast.more, forecast.interval[0] <= forecast.error <= forecast.interval[1]
        (80, True)
    """
    return fitted_curve(*subset_answers(features, labels, groups), groups, seed=seed)


def subset_answers(
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None = None,
    *,
    progress: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns which images are predicted wrongly by heads on nested subsets.

    Args:
        features: (n, d) float32, in a random order.
        labels: (n,) integers.
        groups: (n,) numbers, equal for images that belong together; see `learning_curve`.
        progress: called with 1 for each of `subset_count` heads.

    Returns:
        The numbers of images (s,) int64, and for each (starts, n) bool.

    Raises:
        HeadInputError: a kernel is singular, or the groups are too large.
    """
    positions, count = np.unique(labels, return_inverse=True)[1], len(labels)
    sizes, wrong, order = subset_sizes(count, groups), [], _by_group(groups, count)
    with limited_blas():
        predict = _exact_head(features) if count <= KERNEL_IMAGES else _approximate_head(features)
        for size in sizes.tolist():
            answers = np.empty((len(_starts(count, size)), count), bool)
            for place, start in enumerate(_starts(count, size)):
                rows = order[(start + np.arange(size)) % count]
                logits = predict(rows, positions, None if groups is None else groups[rows])
                answers[place] = logits.argmax(axis=1) != positions
                progress(1)
            wrong.append(answers)
    return sizes, wrong


def subset_count(images: int, groups: np.ndarray | None = None) -> int:
    """Returns how many heads `subset_answers` fits on a number of images, with their groups."""
    return sum(len(_starts(images, size)) for size in subset_sizes(images, groups).tolist())


def fitted_curve(
    sizes: np.ndarray, wrong: Sequence[np.ndarray], groups: np.ndarray | None = None, *, seed: int = 0
) -> LearningCurve:
    """Fits the power law to what was measured, and to replicates in which images and starts are drawn again.

    Args:
        sizes: (s,) the numbers of images.
        wrong: for each size (starts, n) bool: which images are predicted wrongly from each start.
        groups: (n,) numbers, equal for images that are drawn again together; None to draw each alone.
        seed: of the bootstrap.
    """
    random, images = np.random.default_rng(seed), wrong[0].shape[1]
    which = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(which.max()) + 1
    draws = random.multinomial(count, np.full(count, 1 / count), REPLICATES)[:, which]
    chosen = draws / np.maximum(draws.sum(axis=1, keepdims=True), 1)
    chosen[0] = 1 / images
    errors = np.stack([_replicated(chosen, one, random) for one in wrong], axis=1)
    shares = [one.mean(axis=1) for one in wrong]
    deviations = np.array([float(share.std(ddof=1)) if len(share) > 1 else 0.0 for share in shares])
    # Whatever raises or lowers all sizes alike says nothing about the shape of the curve.
    variances = (errors - errors.mean(axis=1, keepdims=True)).var(axis=0) + (0.5 / images) ** 2
    laws = fit_power_laws(sizes, errors, variances, seed=seed)
    law = np.array([laws.at(float(size))[0] for size in sizes])
    several = deviations[[len(share) > 1 for share in shares]]
    spread = random.normal(0, float(np.sqrt(np.mean(several[-3:] ** 2))) if len(several) else 0.0, REPLICATES)
    misfit = float(np.sqrt(np.mean((errors[0] - law) ** 2)))
    return LearningCurve(sizes, errors[0], deviations, laws, count, misfit, spread)


def subset_sizes(images: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns the numbers of images of the subsets, each larger than the one before by the same factor: (s,) int64.

    Raises:
        HeadInputError: the largest group has so many images that few subsets have images of another group, too.
    """
    sizes = np.unique(np.geomspace(images * SMALLEST, images, SIZES).round().astype(np.int64))
    if groups is None:
        return sizes
    largest = int(np.unique(groups, return_counts=True)[1].max())
    sizes = sizes[sizes > largest]
    if len(sizes) < LEAST_SIZES:
        message = f"the largest of the groups has {largest} of {counted(images, 'image')}: smaller groups are needed"
        raise HeadInputError(message)
    return sizes


def _starts(images: int, size: int) -> list[int]:
    """Returns where subsets of a size begin; the larger they are, the more they have in common, and the fewer do."""
    few = images > KERNEL_IMAGES or 2 * size > images
    count = 1 if size == images else FEW_STARTS if few else STARTS
    return [images * place // count for place in range(count)]


_Predict = Callable[[np.ndarray, np.ndarray, np.ndarray | None], np.ndarray]
"""Returns the logits (n, classes) of all images by a head on the images at some rows, of these without themselves.

Its arguments are the rows (m,), the classes of all images (n,), and the groups (m,) of those at the rows, or None."""


def _by_group(groups: np.ndarray | None, count: int) -> np.ndarray:
    """Returns the rows (n,) in the order in which subsets grow: group by group, in the order of their first images."""
    if groups is None:
        return np.arange(count)
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(first[which], kind="stable")


def _exact_head(features: np.ndarray) -> _Predict:
    distances, gamma = rbf_distances(STEPS.rows(features))
    kernel = np.exp(-gamma * distances)

    def predict(rows: np.ndarray, positions: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        fitted = kernel_left_out(kernel[np.ix_(rows, rows)], positions[rows], int(positions.max()) + 1, groups=groups)
        logits = fitted.predict(kernel[:, rows])
        logits[rows] = fitted.logits
        return logits

    return predict


def _approximate_head(features: np.ndarray) -> _Predict:
    inputs = nystroem(STEPS.rows(features), LANDMARKS)

    def predict(rows: np.ndarray, positions: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        fitted = linear_left_out(inputs[rows], positions[rows], int(positions.max()) + 1, groups=groups)
        logits = fitted.predict(inputs)
        logits[rows] = fitted.logits
        return logits

    return predict


def _replicated(chosen: np.ndarray, wrong: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns the error of each replicate, (replicates,), the first of all images and starts."""
    shares = chosen @ wrong.T.astype(np.float64)
    counts = random.multinomial(len(wrong), np.full(len(wrong), 1 / len(wrong)), len(chosen)) / len(wrong)
    counts[0] = 1 / len(wrong)
    return np.asarray((shares * counts).sum(axis=1))


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
