"""How much more often one predictor is right than another on the same images, with its interval and a paired test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from featurebank.metrics.group_effects import GroupEffects
from featurebank.statistics import mcnemar, paired_gain


class PairedGain(NamedTuple):
    """The gain of one predictor over another."""

    difference: float
    """The difference of the shares of right answers."""
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
