"""Finds images whose labels are probably wrong, by confident learning on the features of a bank.

A head predicts each image without having been trained on it. A label is doubted if the head is as sure of another
class as it usually is for images of that class, and gives the label itself much less probability than a guess would.
The second condition is not in the paper: without it, a head that is right on 70 % of the images doubts 11 % of all
labels.

References:
    Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal of Artificial
    Intelligence Research 70, 2021, arXiv:1911.00068.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featurebank.heads.exact.gram import gram
from featurebank.heads.exact.kernel_left_out import STEPS, kernel_left_out, rbf_distances
from featurebank.heads.exact.left_out import loo_predictions
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.system.runtime import limited_blas

KERNEL_IMAGES = 3000
"""Up to so many images, kernel ridge regression is tried beside linear ridge; its time grows with their cube."""
ALPHAS = (0.3, 1.0)
"""The penalties of kernel ridge regression that are tried."""
PENALTIES = np.logspace(-4, 2, 9)
"""Those of linear ridge, in units of the mean variance of a coordinate, summed over the images."""
TEMPERATURES = np.geomspace(0.02, 2, 30)
BELIEF = 0.1
"""A label is doubted if its probability is below this part of what guessing gives it, one over the classes."""
MOST_WORK = 1e10
"""Limit of images x features x the smaller of the two, about three seconds; of more images, a sample is examined."""
MOST_LOGITS = 1 << 25
"""Limit of images x classes x penalties that are in memory at once, in numbers of 8 bytes."""


@dataclass(frozen=True)
class LabelDoubts:
    """The images whose labels are probably wrong, the most doubtful first."""

    rows: np.ndarray
    """(k,) rows of the images."""
    suggested: np.ndarray
    """(k,) the class that the head is sure of."""
    scores: np.ndarray
    """(k,) float64, its probability."""
    accuracy: float
    """The share of the labels that the head predicts correctly, each without having been trained on the image."""
    beliefs: np.ndarray
    """(n,) float64, the probability of each image's own label, also where it is not doubted."""
    probabilities: np.ndarray
    """(n, classes) float64, of all classes that occur, in ascending order."""

    @property
    def ranking(self) -> np.ndarray:
        """All rows, (n,) int64, the least probable label first: what a person checks who has time for so many."""
        return np.argsort(self.beliefs, kind="stable")


def doubtful_labels(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> LabelDoubts:
    """Finds probable label errors.

    Measured with EfficientNet-Lite0, with 2 % (5 %, 10 %) of the labels changed at random, mean of three trials. On 500
    photos of flowers, of which the head recognises .90, the share of the doubted labels that were changed is .76 (.91,
    .97), and the share of the changed ones that are doubted .63 (.55, .39); without changes, 2 are doubted. On 2500
    images of CIFAR-10, of which it recognises .79: .58 (.85, .94) and .59 (.49, .32); without changes, 25 are doubted.
    Whoever checks as many of the least probable labels as were changed finds .70 (.80, .87) and .59 (.69, .77) of them.

    Args:
        features: (n, d) float32.
        labels: (n,) integers, of at least two classes.
        groups: (n,) numbers, equal for images that belong together, so that each is predicted without all of them;
            None for images that do not. Of more than `KERNEL_IMAGES`, they are not regarded.

    Raises:
        HeadInputError: the features are not finite, all labels are equal, or all images are of one group.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(40) % 2
        >>> features = (labels[:, None] * 6 + rng.normal(size=(40, 4))).astype(np.float32)
        >>> labels[7] = 0
        >>> doubtful_labels(features, labels).rows
        array([7])
    """
    shared = Shared(features, labels)
    with limited_blas():
        probabilities = out_of_sample(shared, groups)
    return _doubts(probabilities, shared)


def _doubts(probabilities: np.ndarray, shared: Shared) -> LabelDoubts:
    own, rows = probabilities[np.arange(len(shared.y)), shared.positions], np.arange(len(shared.y))
    surely = confident_classes(probabilities, shared.positions)
    disbelieved = own < BELIEF / len(shared.classes)
    doubted = rows[(surely >= 0) & (surely != shared.positions) & disbelieved]
    doubted = doubted[np.argsort(own[doubted], kind="stable")]
    accuracy = float(np.mean(probabilities.argmax(axis=1) == shared.positions))
    suggested = surely[doubted]
    scores = probabilities[doubted, suggested]
    return LabelDoubts(doubted, shared.classes[suggested], scores, accuracy, own, probabilities)


def confident_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the class that each image surely has, by the thresholds of confident learning: (n,) int64; -1 for none.

    An image surely has a class if its probability reaches the mean probability of the class over the images with that
    label; of several such classes, it has the most probable one.

    Args:
        probabilities: (n, classes).
        labels: (n,) integers; each class occurs.
    """
    count = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    thresholds = np.bincount(labels, own, minlength=count) / np.bincount(labels, minlength=count)
    above = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = above.argmax(axis=1)
    return np.where(above[np.arange(len(labels)), best] >= 0, best, -1)


def out_of_sample(shared: Shared, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns the probabilities of each image by a head that was trained on all others: (n, classes) float64.

    Penalty and temperature are those of the smallest leave-one-out log loss. With groups, kernel ridge regression alone
    is tried, which leaves them out together; see `doubtful_labels`.
    """
    best, least, few = np.empty(0), np.inf, len(shared.y) <= KERNEL_IMAGES
    kernel = _kernel_logits(shared, groups) if few else ()
    for logits in itertools.chain(kernel, () if few and groups is not None else _linear_logits(shared)):
        logs, loss, _ = calibrated(logits, shared.positions)
        if loss < least:
            best, least = logs, loss
    return np.asarray(np.exp(best))


def calibrated(logits: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Returns log probabilities (n, classes) with the temperature of the smallest log loss, that loss, and it.

    Args:
        logits: (n, classes).
        positions: (n,) the class of each image.
    """
    best, least, warmth = np.empty(0), np.inf, 1.0
    for temperature in TEMPERATURES.tolist():
        logs = _log_softmax(logits / temperature)
        loss = -float(logs[np.arange(len(logs)), positions].mean())
        if loss < least:
            best, least, warmth = logs, loss, temperature
    return best, least, warmth


def _kernel_logits(shared: Shared, groups: np.ndarray | None) -> Iterator[np.ndarray]:
    distances, gamma = rbf_distances(STEPS.rows(shared.X))
    kernel = np.exp(-gamma * distances)
    for alpha in ALPHAS:
        yield kernel_left_out(kernel, shared.positions, len(shared.classes), alpha, groups=groups).logits


def _linear_logits(shared: Shared) -> Iterator[np.ndarray]:
    scatter = gram(shared, Steps())
    penalties = PENALTIES * np.trace(scatter.matrix) / min(scatter.n, scatter.d)
    for group in _groups(penalties, len(shared.positions) * len(shared.classes)):
        yield from loo_predictions(shared, Steps(), group)


def most_images(width: int, classes: int) -> int:
    """Returns how many images can be examined in a few seconds.

    Args:
        width: the number of features.
        classes: the number of classes.
    """
    by_width = MOST_WORK / width**2 if width**3 <= MOST_WORK else (MOST_WORK / width) ** 0.5
    return int(min(max(by_width, KERNEL_IMAGES), MOST_LOGITS / max(1, classes)))


def _groups(penalties: np.ndarray, size: int) -> list[np.ndarray]:
    """Returns the penalties in parts whose predictions fit into memory."""
    together = max(1, MOST_LOGITS // size)
    return [penalties[start : start + together] for start in range(0, len(penalties), together)]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
