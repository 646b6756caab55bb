"""How much each group of images changes a metric, and the intervals and tests that follow from it.

Images of one group are not independent, so what counts is how the groups differ. The effect of a group is the change of
the metric if the group is left out (the jackknife). The squares of the effects add up to the variance of the metric. A
bootstrap of groups estimates the same variance, but the interval of its percentiles is too narrow for few groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import erfc, exp, isfinite, log, sqrt
from statistics import NormalDist
from typing import Self

import numpy as np

from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric, Scale
from featurebank.metrics.resampling import affordable, weighted_values
from featurebank.statistics import proportion_interval, student_quantile
from featurebank.words import counted

LEAST_GROUPS = 5
"""With fewer groups there is no interval and no test: what so few groups have in common cannot be known."""
_ROUNDING = 1e-12
_WORK = 1 << 22
_LARGEST = 700.0
"""The exponential of a larger number overflows."""


@dataclass(frozen=True, eq=False)
class GroupEffects:
    """A metric, and what each group changes in it.

    Example:
        >>> right, patients = np.array([1.0, 1.0, 1.0, 0.0] * 20), np.arange(80) // 4 % 8
        >>> found = GroupEffects.of_values(right, patients)
        >>> found.value, found.groups
        (0.75, 8)

    References:
        Cochran, "Sampling Techniques", 1977, chapter 11 (the variance of a ratio of sums over clusters). Quenouille,
        "Notes on Bias in Estimation", Biometrika 43, 1956; Kott, "The Delete-a-Group Jackknife", Journal of Official
        Statistics 17, 2001. Satterthwaite, "An Approximate Distribution of Estimates of Variance Components",
        Biometrics Bulletin 2, 1946. Dean, Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions in
        Clustered Surveys", Journal of Survey Statistics and Methodology 3, 2015.
    """

    value: float
    """The metric of all images; NaN if it is not defined."""
    codes: np.ndarray
    """(g,) the groups, ascending."""
    effects: np.ndarray
    """(g,) float64, the change of the metric without each group; NaN if it is not defined then."""
    parts: np.ndarray
    """(g,) float64, the part of each group in the metric: for a mean, they add up to it."""
    sizes: np.ndarray
    """(g,) float64, how many images of each group count."""

    @classmethod
    def joined(cls, parts: Sequence[Self], weights: Sequence[float], repeats: int = 1) -> Self:
        """Returns the effects on a weighted sum of metrics, such as the mean over folds or seeds.

        Args:
            parts: the effects on each metric.
            weights: the weight of each metric.
            repeats: how often each image occurs among the parts.
        """
        codes, place = np.unique(np.concatenate([part.codes for part in parts]), return_inverse=True)
        columns = {
            name: np.bincount(
                place,
                np.concatenate([getattr(part, name) * factor for part, factor in zip(parts, factors, strict=True)]),
                len(codes),
            )
            for name, factors in (
                ("effects", weights), ("parts", weights), ("sizes", [1 / repeats] * len(parts)),
            )
        }  # fmt: skip
        value = float(sum(part.value * weight for part, weight in zip(parts, weights, strict=True)))
        return cls(value, codes, **columns)

    @classmethod
    def of_values(cls, values: np.ndarray, groups: np.ndarray) -> Self:
        """Returns the effects on the mean of one value for each image.

        Args:
            values: (n,) float64, NaN for images that do not count.
            groups: (n,) the group of each image.
        """
        counted = ~np.isnan(values)
        codes, place = np.unique(groups[counted], return_inverse=True)
        sums, sizes = (np.bincount(place, weights, len(codes)) for weights in (values[counted], None))
        if not len(codes):
            return cls(np.nan, codes, sums, sums, sizes.astype(float))
        mean, rest = float(sums.sum() / sizes.sum()), sizes.sum() - sizes
        effects = np.divide(sizes * mean - sums, rest, where=rest > 0, out=np.full(len(codes), np.nan))
        return cls(mean, codes, effects, sums / sizes.sum(), sizes.astype(float))

    @classmethod
    def of(cls, metric: Metric, images: ImageScores, groups: np.ndarray) -> Self:
        """Returns the effects on a metric.

        Where the metric would have to be computed too often, groups are left out several at a time, at random.

        Args:
            metric: the metric.
            images: the images.
            groups: (n,) the group of each image.
        """
        if metric.per_image is not None:
            return cls.of_values(metric.per_image(images), groups)
        codes, place = np.unique(groups, return_inverse=True)
        most = affordable(metric, len(images), images.classes)
        if len(codes) > most:
            place = (np.random.default_rng(0).permutation(len(codes)) % most)[place]
            codes = np.arange(most)
        value, step = metric.of(images), max(1, _WORK // max(1, len(images)))
        without = [
            weighted_values(metric, images, (place != np.arange(start, min(start + step, len(codes)))[:, None]) * 1.0)
            for start in range(0, len(codes), step)
        ]
        sizes = np.bincount(place, minlength=len(codes)).astype(float)
        effects, share = np.concatenate([np.empty(0), *without]) - value, sizes / max(1.0, sizes.sum())
        return cls(value, codes, effects, value * share - effects * (1 - share), sizes)

    @property
    def groups(self) -> int:
        """The number of groups that count."""
        return len(self.codes)

    @property
    def are_enough(self) -> bool:
        """Whether there are enough groups for an interval and a test."""
        return self.groups >= LEAST_GROUPS and bool(np.isfinite(self.effects).all()) and isfinite(self.value)

    @property
    def variance(self) -> float:
        """The variance of the metric between sets of as many groups; NaN if it is not defined."""
        return float((self.effects**2).sum()) * (self.groups - 1) / max(1, self.groups)

    @property
    def degrees(self) -> float:
        """Satterthwaite's degrees of freedom of the variance, from the kurtosis of the effects.

        If few groups decide the metric, such as three of thirty that have all the mistakes, the variance is known from
        few groups only. The degrees are then much fewer than those of all groups.
        """
        squares = self.effects**2
        total = float(squares.sum())
        if total <= 0:
            return max(1.0, self.groups - 1.0)
        kurtosis = self.groups * float((squares**2).sum()) / total**2
        return float(np.clip(2 * self.groups / max(kurtosis - 1, 1e-9), 1, max(1, self.groups - 1)))

    def minus(self, other: Self) -> Self:
        """Returns the effects on the difference from another metric or predictor on the same images."""
        return replace(
            self, value=self.value - other.value, effects=self.effects - other.effects, parts=self.parts - other.parts
        )

    def share_interval(self, value: float | None = None, level: float = 0.95) -> tuple[float, float] | None:
        """Returns the interval of a share of images; None if there are too few groups.

        It is Student's on the scale of log odds, but no wider than Wilson's if each group had only one answer. If all
        images agree, it is Wilson's for the number of groups.

        Args:
            value: the share around which the interval is wanted; default: that of the images.
            level: the confidence level.
        """
        if not self.are_enough:
            return None
        share = min(1.0, max(0.0, self.value if value is None else value))
        z = NormalDist().inv_cdf((1 + level) / 2)
        if share in {0.0, 1.0} or self.value <= 0.0 or self.value >= 1.0:
            return proportion_interval(share, self.groups, z)
        product, images = self.value * (1 - self.value), float(self.sizes.sum())
        variance = self.variance if self.variance > _ROUNDING else product / images
        half = student_quantile(self.degrees, level) * sqrt(variance) / product
        low, high = (_share(log(share / (1 - share)) + way * half) for way in (-1, 1))
        least, most = proportion_interval(share, images**2 / float((self.sizes**2).sum()), z)
        return max(low, least), min(high, most)

    def interval(self, scale: Scale = "plain", level: float = 0.95) -> tuple[float, float] | None:
        """Returns the interval of a metric; None if there are too few groups, or if it is not defined.

        Args:
            scale: where the metric lies. The interval is Student's on the scale of log odds, of logarithms, or of the
                metric itself.
            level: the confidence level.
        """
        if not self.are_enough:
            return None
        value, half = self.value, student_quantile(self.degrees, level) * sqrt(self.variance)
        if scale == "unit" and 0 < value < 1:
            middle, half = log(value / (1 - value)), half / (value * (1 - value))
            return _share(middle - half), _share(middle + half)
        if scale == "positive" and value > 0:
            return value * exp(-half / value), value * exp(min(half / value, _LARGEST))
        return value - half, value + half

    def p_value(self) -> float | None:
        """Returns the p-value of the hypothesis that a difference is 0; None if there are too few groups.

        If there is no difference, each group may as well have the opposite sign. The test is that of all these signs,
        by the normal distribution, and its p-value is at least the smallest that so many signs can give.

        References:
            Fisher, "The Design of Experiments", 1935, section 21. Cameron, Gelbach, Miller, "Bootstrap-Based
            Improvements for Inference with Clustered Errors", Review of Economics and Statistics 90, 2008.
        """
        if not self.are_enough:
            return None
        size = float(np.abs(self.parts).max())
        if size <= _ROUNDING:
            return 1.0
        parts = self.parts / size
        ratio = abs(float(parts.sum())) / sqrt(float((parts**2).sum()))
        least = 2.0 * 0.5 ** min(int((np.abs(parts) > _ROUNDING).sum()), 1000)
        return min(1.0, max(least, erfc(ratio / sqrt(2))))


def groups_in_words(count: int) -> str:
    """Returns a number of groups, and whether they are too few for an interval.

    Example:
        >>> groups_in_words(24), groups_in_words(3)
        ('24 groups', '3 groups, which are too few for an interval')
    """
    return counted(count, "group") + (
        "" if count >= LEAST_GROUPS else f", which {'is' if count == 1 else 'are'} too few for an interval"
    )


def _share(odds: float) -> float:
    """Returns the share with the given log odds."""
    return 1 / (1 + exp(-max(-_LARGEST, min(odds, _LARGEST))))
