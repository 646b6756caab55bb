"""How well sets of classes and abstention work on labelled images: coverage and size, share answered and error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from featurebank.certainty.abstention import top_doubts
from featurebank.certainty.conformal import class_sets
from featurebank.certainty.record import Certainty
from featurebank.certainty.scores import ends_of_ties
from featurebank.errors import ConfigError
from featurebank.metrics.significance import share_interval
from featurebank.words import counted

COVERAGES = (0.8, 0.9, 0.95, 0.99)
ERRORS = (0.01, 0.02, 0.05, 0.1)
"""What is measured where nobody asks for something else."""
PARTS = 10
"""The number of parts of the images for cross-fitting."""
_POINTS = 200


@dataclass(frozen=True)
class MeasuredSets:
    """The sets of classes of labelled images."""

    target: float
    """The coverage that was asked for."""
    coverage: float
    """The share of images whose true class is in their set."""
    interval: tuple[float, float]
    """The 95 % interval of the coverage, by groups if there are groups; 0 to 1 if these are too few."""
    size: float
    """The mean number of classes in a set."""
    empty: float
    """The share of empty sets."""


@dataclass(frozen=True)
class MeasuredAnswers:
    """The answered images among labelled images."""

    target: float
    """The error among the answered that was asked for."""
    share: float
    """The share of images that are answered; 0 if no threshold reaches the error."""
    error: float | None
    """The share of wrong ones among the answered; None if there are none."""
    interval: tuple[float, float] | None
    """The 95 % interval of the error, by groups if there are groups; 0 to 1 if these are too few."""


@dataclass(frozen=True, repr=False)
class MeasuredCertainty:
    """Coverage and size of sets of classes, and the error among the answered images.

    Example:
        >>> probabilities = np.array([[0.8, 0.2]] * 90 + [[0.3, 0.7]] * 10)
        >>> crossfitted(probabilities, np.array([0] * 95 + [1] * 5), coverages=(0.8,), errors=(0.1,))
        <MeasuredCertainty of 100 images by cross-fitting: coverage 0.8: 0.9000, mean size 0.90; error 0.1: ...>
    """

    images: int
    source: str
    """What was measured, as "test images" or "by cross-fitting"."""
    sets: tuple[MeasuredSets, ...]
    answers: tuple[MeasuredAnswers, ...]
    curve: tuple[tuple[float, float], ...]
    """The share answered and the error among the answered, as the doubt that is still answered grows."""

    def __repr__(self) -> str:
        sets = [f"coverage {one.target:g}: {one.coverage:.4f}, mean size {one.size:.2f}" for one in self.sets]
        answers = [
            f"error {one.target:g}: "
            + ("nothing answered" if one.error is None else f"{one.error:.4f} of {one.share:.1%} answered")
            for one in self.answers
        ]
        return f"<MeasuredCertainty of {counted(self.images, 'image')} {self.source}: {'; '.join([*sets, *answers])}>"

    def to_dict(self) -> dict[str, Any]:
        """Returns the results as JSON values."""
        return asdict(self)


def measured(
    certainty: Certainty, probabilities: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None,
    source: str = "", coverages: Sequence[float] = COVERAGES, errors: Sequence[float] = ERRORS,
) -> MeasuredCertainty:  # fmt: skip
    """Measures on labelled images that were not used for calibration.

    Args:
        certainty: the calibration.
        probabilities: (n, classes), n > 0.
        labels: (n,).
        groups: (n,) the group of each image, by which intervals count; None without groups.
        source: what is measured, in words.
        coverages: the coverages to ask for.
        errors: the errors to ask for.
    """
    parts = _PartsOfImages([(certainty, np.arange(len(labels)))], probabilities, labels, groups)
    return parts.summary(source, coverages, errors)


def crossfitted(
    probabilities: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None,
    source: str = "by cross-fitting", coverages: Sequence[float] = COVERAGES, errors: Sequence[float] = ERRORS,
) -> MeasuredCertainty:  # fmt: skip
    """Measures on the images of the calibration themselves: each part with the calibration of all other parts.

    Args:
        probabilities: (n, classes), n > 1, of images that the model was not fitted on.
        labels: (n,).
        groups: (n,) the group of each image, which no two parts share; None without groups.
        source: see `measured`, also for `coverages` and `errors`.
        coverages: the coverages to ask for.
        errors: the errors to ask for.

    Raises:
        ConfigError: there are fewer than two images, or groups.
    """
    parts = _parts(len(labels), groups)
    fitted = [
        (Certainty.of(probabilities[rest], labels[rest], groups=None if groups is None else groups[rest]), part)
        for part in parts
        if len(rest := np.setdiff1d(np.arange(len(labels)), part))
    ]
    if len(fitted) < 2:  # noqa: PLR2004
        message = "certainty is measured by cross-fitting, which needs two images of different groups: there is one"
        raise ConfigError(message)
    return _PartsOfImages(fitted, probabilities, labels, groups).summary(source, coverages, errors)


def _parts(count: int, groups: np.ndarray | None) -> list[np.ndarray]:
    units = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    part = np.random.default_rng(0).permutation(int(units.max(initial=-1)) + 1) % PARTS
    return [rows for number in range(PARTS) if len(rows := np.flatnonzero(part[units] == number))]


@dataclass(frozen=True)
class _PartsOfImages:
    """Labelled images in parts, each with the calibration that it is measured with."""

    fitted: Sequence[tuple[Certainty, np.ndarray]]
    probabilities: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    """(n,) the group of each image; None without groups."""

    def summary(self, source: str, coverages: Sequence[float], errors: Sequence[float]) -> MeasuredCertainty:
        """Measures all parts together."""
        return MeasuredCertainty(
            len(self.labels), source, tuple(map(self.sets, coverages)), tuple(map(self.answers, errors)),
            risk_curve(self.probabilities, self.labels),
        )  # fmt: skip

    def sets(self, target: float) -> MeasuredSets:
        """Measures the sets of classes for a coverage."""
        inside = np.empty(self.probabilities.shape, bool)
        for certainty, rows in self.fitted:
            inside[rows] = class_sets(self.probabilities[rows], certainty.table, target)
        sizes, covered = inside.sum(axis=1), inside[np.arange(len(self.labels)), self.labels].astype(float)
        interval = share_interval(covered, self.groups) or (0.0, 1.0)
        return MeasuredSets(target, float(covered.mean()), interval, float(sizes.mean()), float((sizes == 0).mean()))

    def answers(self, target: float) -> MeasuredAnswers:
        """Measures the answered images for an error; where no threshold reaches it, nothing is answered."""
        answered = np.zeros(len(self.labels), bool)
        for certainty, rows in self.fitted:
            if (chosen := certainty.answers.find(target)) is not None:
                answered[rows] = chosen.answers(self.probabilities[rows])
        count = int(answered.sum())
        if not count:
            return MeasuredAnswers(target, 0.0, None, None)
        wrong = np.where(answered, self.probabilities.argmax(axis=1) != self.labels, np.nan)
        interval = share_interval(wrong, self.groups) or (0.0, 1.0)
        return MeasuredAnswers(target, count / len(self.labels), float(np.nanmean(wrong)), interval)


def risk_curve(probabilities: np.ndarray, labels: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Returns the share answered with the error among the answered, for thresholds from the least doubt on.

    Args:
        probabilities: (n, classes).
        labels: (n,).

    Returns:
        At most 200 pairs, with images of equal doubt answered together.

    References:
        El-Yaniv, Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 11, 2010.
    """
    order = np.argsort(scores := top_doubts(probabilities), kind="stable")
    wrong = np.cumsum((probabilities.argmax(axis=1) != labels)[order])
    last = ends_of_ties(scores[order])
    places = last[np.unique(np.linspace(0, len(last) - 1, min(_POINTS, len(last))).round().astype(int))]
    return tuple(((place + 1) / len(order), float(wrong[place]) / (place + 1)) for place in places.tolist())
