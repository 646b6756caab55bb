"""Intervals and tests for accuracies: numpy, and scipy's distributions."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np


def proportion_interval(share: float, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns the 95 % interval of a share of `count` independent trials: Wilson's, which stays honest near 0 and 1.

    (A bootstrap of 100 right answers out of 100 says "exactly 1"; this says "at least .963".)

    References:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if count == 0:
        return 0.0, 1.0
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Returns the 95 % interval of the mean of a few independent values: Student's.

    Args:
        values: two or more.

    References:
        Student, "The Probable Error of a Mean", Biometrika 6, 1908.
    """
    from scipy.special import stdtrit

    mean, count = float(np.mean(values)), len(values)
    half = float(stdtrit(count - 1, 0.975)) * float(np.std(values, ddof=1)) / sqrt(count)
    return mean - half, mean + half


def mcnemar(first_alone: float, second_alone: float) -> float:
    """Returns the p-value of McNemar's test that two heads are right equally often, from paired answers.

    It is the mid-p variant of the exact (binomial) test: the exact one keeps its level by staying far below it where
    few answers differ, which would call heads indistinguishable that are not; mid-p is nearly as safe and as strong as
    the asymptotic test, which is not to be trusted with few differing answers.

    Args:
        first_alone: how many images the first head alone gets right; an average is rounded.
        second_alone: how many the second head alone gets right.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947. Fagerland, Lydersen, Laake, "The McNemar test for binary matched-pairs data: mid-p and
        asymptotic are better than exact conditional", BMC Medical Research Methodology 13:91, 2013.
    """
    from scipy.special import bdtr

    less, more = sorted((round(first_alone), round(second_alone)))
    below = float(bdtr(less - 1, less + more, 0.5)) if less else 0.0
    at = float(bdtr(less, less + more, 0.5)) - below
    return min(1.0, 2 * below + at)


def paired_gain(first: np.ndarray, second: np.ndarray, z: float = 1.959964) -> tuple[float, float, float]:
    """Returns by how much the second of two heads is right more often, with the 95 % interval, from paired answers.

    The interval is Bonett's and Price's: Wald's after one image more for each of the two ways to differ, which keeps
    its level where few answers differ.

    Args:
        first: (n,) bool, which images the first gets right.
        second: (n,) bool, the same of the second.
        z: of the level.

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
    """Returns p-values corrected for their number, in the order given: the chance of any false alarm stays below them.

    References:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values, float)[order]
    corrected = np.maximum.accumulate(ascending * np.arange(len(order), 0, -1))
    found = np.empty(len(order))
    found[order] = np.minimum(corrected, 1)
    return [float(value) for value in found]
