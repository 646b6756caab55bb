"""Intervals and tests for accuracies, and how far probabilities can be trusted, with numpy and scipy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np

Z = NormalDist().inv_cdf(0.975)
"""The quantile of the normal distribution for 95 % intervals."""


def proportion_interval(share: float, count: float, z: float = Z) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a proportion over `count` independent trials, which is reliable near 0 and 1.

    For 100 correct answers out of 100, a bootstrap says "exactly 1"; this interval says "at least .963".

    Example:
        >>> low, high = proportion_interval(1.0, 100)
        >>> round(low, 3), high
        (0.963, 1.0)

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if count == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))  # also after rounding


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns Student's 95 % interval of the mean of a few independent values.

    Args:
        values: at least two.

    References:
        Student, "The Probable Error of a Mean", Biometrika 6, 1908.
    """
    mean, count = float(np.mean(values)), len(values)
    half = student_quantile(count - 1) * float(np.std(values, ddof=1)) / sqrt(count)
    return mean - half, mean + half


def student_quantile(degrees: float, level: float = 0.95) -> float:
    """Returns the quantile of Student's distribution for a two-sided interval.

    Args:
        degrees: degrees of freedom, above 0, perhaps not whole.
        level: the confidence level.

    Example:
        >>> round(student_quantile(9), 3)
        2.262
    """
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def mcnemar(only_first: float, only_second: float) -> float:
    """Returns the p-value of McNemar's test of the hypothesis that two heads are correct equally often.

    It is the mid-p variant of the exact (binomial) test. The exact test is too conservative if few answers differ, and
    would call different heads indistinguishable; the asymptotic test is unreliable there. Mid-p is nearly as safe as
    the former and as powerful as the latter.

    Args:
        only_first: number of images that only the first head classifies correctly; an average is rounded.
        only_second: number of images that only the second head classifies correctly.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947. Fagerland, Lydersen, Laake, "The McNemar test for binary matched-pairs data: mid-p and
        asymptotic are better than exact conditional", BMC Medical Research Methodology 13:91, 2013.
    """
    from scipy.special import bdtr

    less, more = sorted((round(only_first), round(only_second)))
    below = float(bdtr(less - 1, less + more, 0.5)) if less else 0.0
    at = float(bdtr(less, less + more, 0.5)) - below
    return min(1.0, 2 * below + at)


def two_sided(ratio: float, degrees: float) -> float:
    """Returns the two-sided p-value of a ratio that has Student's distribution if there is no difference.

    Args:
        ratio: the difference divided by its standard error.
        degrees: degrees of freedom, 1 or more.

    Example:
        >>> round(two_sided(1.96, 1000), 2), two_sided(0.0, 5)
        (0.05, 1.0)
    """
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(degrees, -abs(ratio))))


def paired_gain(first: np.ndarray, second: np.ndarray, z: float = Z) -> tuple[float, float, float]:
    """Returns how much more often the second of two heads is correct, with the 95 % interval, from paired answers.

    The interval is that of Bonett and Price: Wald's, after adding one image to each of the two kinds of disagreement.
    It keeps its level if few answers differ.

    Args:
        first: (n,) bool, whether the first head is correct for each image.
        second: (n,) bool, the same for the second head.
        z: quantile of the normal distribution for the confidence level.

    Returns:
        The difference, and the lower and upper end of its interval.

    References:
        Bonett, Price, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired
        Data", Journal of Educational and Behavioral Statistics 37, 2012.
    """
    count = len(first)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    more, less = (gained + 1) / (count + 2), (lost + 1) / (count + 2)
    centre, half = more - less, z * sqrt((more + less - (more - less) ** 2) / (count + 2))
    return (gained - lost) / count, max(-1.0, centre - half), min(1.0, centre + half)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns Holm's corrected p-values, in the order of the input; they bound the chance of any false alarm.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values, float)[order]
    corrected = np.maximum.accumulate(ascending * np.arange(len(order), 0, -1))
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(corrected, 1)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class CalibrationBins:
    """Predictions by their confidence, in bins of equal width: a reliability diagram.

    Example:
        >>> bins = CalibrationBins.of(np.array([0.9, 0.95, 0.6]), np.array([True, False, True]), bins=2)
        >>> bins.images.tolist(), bins.accuracy.round(2).tolist(), round(bins.error, 3)
        ([0, 3], [nan, 0.67], 0.15)
    """

    confidence: np.ndarray
    """(bins,) float64, the mean confidence; NaN in a bin without images."""
    accuracy: np.ndarray
    """(bins,) float64, the fraction of right predictions; NaN in a bin without images."""
    images: np.ndarray
    """(bins,) int64."""

    @classmethod
    def of(cls, confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> CalibrationBins:
        """Divides predictions into bins.

        Args:
            confidence: (n,) the largest probability of each image.
            right: (n,) bool, whether the most probable class is the true one.
            bins: the number of bins.
        """
        which = np.minimum((confidence * bins).astype(int), bins - 1)
        images = np.bincount(which, minlength=bins)
        counts = np.where(images, images, np.nan)
        total, correct = (np.bincount(which, values, minlength=bins) for values in (confidence, right))
        return cls(total / counts, correct / counts, images)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between confidence and accuracy, weighted by images.

        References:
            Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
        """
        gaps = self.images * np.abs(self.accuracy - self.confidence)
        return float(np.nansum(gaps) / self.images.sum())
