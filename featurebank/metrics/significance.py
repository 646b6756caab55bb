"""Confidence intervals of metrics, and paired tests of the difference between two predictors on the same images.

The interval of a share of independent images is Wilson's, and two such shares are compared by McNemar's test: both are
exact enough for few images. All other metrics use the bootstrap. Its interval is that of the percentiles. Its test
divides the difference by the standard deviation of the same difference in the same samples. For images in groups, the
interval and the test are those of `group_effects`, which has neither if there are fewer than five groups.
"""

from __future__ import annotations

from math import isfinite
from statistics import NormalDist

import numpy as np

from featurebank.metrics.group_effects import GroupEffects
from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric
from featurebank.metrics.resampling import Resamples, affordable, counted_units
from featurebank.statistics import mcnemar, proportion_interval, two_sided

Interval = tuple[float, float]
_ROUNDING = 1e-12
"""Differences that are smaller are rounding errors."""


def confidence_interval(
    metric: Metric, images: ImageScores, groups: np.ndarray | None = None, *, samples: int = 1000, seed: int = 0
) -> Interval | None:
    """Returns the 95 % confidence interval of a metric; None if the metric has none, or is not defined.

    Args:
        metric: the metric.
        images: the evaluated images.
        groups: (n,) the group of each image, if images of one group are not independent.
        samples: the number of bootstrap samples.
        seed: seed of the bootstrap.

    Example:
        >>> from featurebank.metrics import METRICS
        >>> images = ImageScores.of(np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]), np.array([0, 1, 1]))
        >>> low, high = confidence_interval(METRICS["accuracy"], images)
        >>> round(low, 2), high
        (0.44, 1.0)
    """
    if metric.interval is None or not len(images):
        return None
    if metric.interval == "wilson" and metric.per_image is not None:
        return share_interval(metric.per_image(images), groups)
    if groups is not None:
        return GroupEffects.of(metric, images, groups).interval(metric.scale)
    samples = affordable(metric, len(images), images.classes, samples)
    return percentile_interval(Resamples(len(images), None, samples, seed).values(metric, images))


def share_interval(values: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95) -> Interval | None:
    """Returns the confidence interval of a share of images: Wilson's, or that of `GroupEffects` for groups.

    Args:
        values: (n,) 0 or 1 for each image, NaN for images that do not count.
        groups: (n,) the group of each image.
        level: the confidence level.

    Returns:
        The interval; None if no image counts, or if there are too few groups.
    """
    counted = ~np.isnan(values)
    if not counted.any():
        return None
    if groups is not None:
        return GroupEffects.of_values(values, groups).share_interval(level=level)
    share = min(1.0, float(values[counted].mean()))
    return proportion_interval(share, counted_units(values), NormalDist().inv_cdf((1 + level) / 2))


def percentile_interval(draws: np.ndarray) -> Interval | None:
    """Returns the 95 % interval of bootstrap values (m,); None if the metric is defined for fewer than half of them."""
    known = draws[np.isfinite(draws)]
    if 2 * len(known) < len(draws) or not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def difference_p_value(difference: float, draws: np.ndarray, units: int) -> float | None:
    """Returns the p-value of a difference of two means or metrics, from its bootstrap values.

    Args:
        difference: the observed difference.
        draws: (m,) the difference in each bootstrap sample.
        units: the number of independent images or groups.

    Returns:
        The p-value of the two-sided test against Student's distribution; None if the difference is not defined.
    """
    known = draws[np.isfinite(draws)]
    if not isfinite(difference) or 2 * len(known) < len(draws) or not len(known):
        return None
    spread = float(np.std(known))
    if spread <= _ROUNDING * max(1.0, abs(difference)):  # all images differ by the same amount
        return 1.0 if abs(difference) <= _ROUNDING else min(1.0, 2.0 * 0.5 ** min(units, 1000))
    return two_sided(difference / spread, max(1, units - 1))


def paired_p_value(
    metric: Metric, first: ImageScores, second: ImageScores, groups: np.ndarray | None = None, *,
    samples: int = 1000, seed: int = 0,
) -> float | None:  # fmt: skip
    """Returns the p-value of the hypothesis that two predictors have the same metric, from the same images.

    Args:
        metric: the metric.
        first: the images as the first predictor sees them.
        second: the same images, in the same order, as the second predictor sees them.
        groups: (n,) the group of each image, if images of one group are not independent.
        samples: the number of bootstrap samples.
        seed: seed of the bootstrap.

    Returns:
        The p-value: McNemar's test of shares of independent images, that of `GroupEffects` for groups, else the
        bootstrap's; None if the metric is not defined, or if there are too few groups.
    """
    if groups is not None:
        mine, theirs = (GroupEffects.of(metric, images, groups) for images in (first, second))
        return mine.minus(theirs).p_value()
    if metric.interval == "wilson" and metric.per_image is not None:
        ours, others = metric.per_image(first), metric.per_image(second)
        return mcnemar(float((ours > others).sum()), float((others > ours).sum()))
    samples = affordable(metric, len(first), first.classes, samples)
    resamples = Resamples(len(first), None, samples, seed)
    draws = resamples.values(metric, first) - resamples.values(metric, second)
    units = resamples.units if metric.per_image is None else counted_units(metric.per_image(first))
    return difference_p_value(metric.of(first) - metric.of(second), draws, units)
