"""How much better one predictor is than another on the same images, with the interval and a paired test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurebank.metrics.group_effects import GroupEffects
from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric
from featurebank.metrics.resampling import Resamples, affordable
from featurebank.metrics.significance import difference_p_value, percentile_interval
from featurebank.statistics import mcnemar, paired_gain


class PairedGain(NamedTuple):
    """The gain of one predictor over another."""

    difference: float
    """The difference of the shares of right answers, or of another metric."""
    low: float
    high: float
    """The ends of its 95 % interval."""
    p_value: float


def gain_over(before: np.ndarray, after: np.ndarray, groups: np.ndarray | None = None) -> PairedGain:
    """Compares two predictors on the same images.

    Without groups, the interval is that of `statistics.paired_gain` and the test McNemar's. With groups, both are
    those of `GroupEffects`; the interval is at least as wide as that of independent images, and -1 to 1 if
    there are too few groups.

    Args:
        before: (n,) bool, whether the first predictor is right for each image.
        after: (n,) bool, the same for the second one.
        groups: (n,) the group of each image, if images of one group are not independent.

    Example:
        >>> before, after = np.array([True, False] * 20), np.array([True, True] * 20)
        >>> alone, together = gain_over(before, after), gain_over(before, after, np.arange(40) // 10)
        >>> alone.difference, alone.p_value < together.p_value
        (0.5, True)
    """
    difference, low, high = paired_gain(before, after)
    if groups is None:
        return PairedGain(difference, low, high, mcnemar(int((before & ~after).sum()), int((after & ~before).sum())))
    effects = GroupEffects.of_values(after.astype(float) - before.astype(float), groups)
    least, most = effects.interval() or (-1.0, 1.0)
    p_value = effects.p_value()
    return PairedGain(
        difference, max(-1.0, min(low, least)), min(1.0, max(high, most)), 1.0 if p_value is None else p_value
    )


def metric_gain(
    metric: Metric, before: ImageScores, after: ImageScores, groups: np.ndarray | None = None
) -> PairedGain | None:
    """Compares two predictors on the same images by any metric.

    For shares of images it is `gain_over`; else a paired bootstrap, or `GroupEffects` for groups.

    Args:
        metric: the metric.
        before: the images as the first predictor sees them.
        after: the same images, in the same order, as the second one sees them.
        groups: (n,) the group of each image, if images of one group are not independent.

    Returns:
        The gain; below 0 is better if smaller is better. None if the metric is not defined or has no
        interval, or if there are too few groups.

    Example:
        >>> from featurebank.metrics import METRICS
        >>> labels = np.array([0, 1] * 9)
        >>> unsure, sure = (ImageScores.of(np.eye(2)[labels] * share + 0.2, labels) for share in (0.2, 0.6))
        >>> found = metric_gain(METRICS["loss"], unsure, sure)
        >>> round(found.difference, 2), found.high < 0
        (-0.69, True)
    """
    if metric.interval is None:
        return None
    if metric.interval == "wilson" and metric.per_image is not None:
        first, second = metric.per_image(before), metric.per_image(after)
        counted = ~np.isnan(first)
        known = None if groups is None else groups[counted]
        return gain_over(first[counted] > 0, second[counted] > 0, known) if counted.any() else None
    difference = metric.of(after) - metric.of(before)
    if groups is not None:
        effects = GroupEffects.of(metric, after, groups).minus(GroupEffects.of(metric, before, groups))
        interval, p_value = effects.interval(), effects.p_value()
    else:
        resamples = Resamples(len(before), None, affordable(metric, len(before), before.classes))
        draws = resamples.values(metric, after) - resamples.values(metric, before)
        interval, p_value = percentile_interval(draws), difference_p_value(difference, draws, resamples.units)
    return None if interval is None or p_value is None else PairedGain(difference, *interval, p_value)
