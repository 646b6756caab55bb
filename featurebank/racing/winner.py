"""The confidence interval of the best of many candidates, corrected for the choice.

The best of many candidates was also lucky: its result on the images by which it was chosen is too good on average, the
more so, the more candidates are nearly equal. The bootstrap repeats the choice: how much better a chosen candidate is
in a sample than it is in truth estimates that luck, and how much this varies gives the width of the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featurebank.metrics import ImageScores, Metric
from featurebank.metrics.group_effects import GroupEffects
from featurebank.metrics.resampling import Resamples, affordable
from featurebank.statistics import proportion_interval

SAMPLES = 1000
_Z = 1.959964
_FAR = 5.0
"""A candidate that is worse by more standard errors than this is never chosen in a sample."""


@dataclass(frozen=True)
class WinnerInterval:
    """The result of the best of several candidates."""

    value: float
    """On the images by which it was chosen."""
    corrected: float
    """Without the advantage of having been chosen by these images."""
    low: float
    high: float
    """The ends of the 95 % interval."""
    candidates: int
    """The number of candidates that it was chosen from."""

    def summary(self) -> dict[str, float]:
        """Returns the interval as JSON values."""
        return {
            "value": self.value, "corrected": self.corrected, "low": self.low, "high": self.high,
            "candidates": self.candidates,
        }  # fmt: skip


def winner_interval(
    values: np.ndarray, draws: np.ndarray, chosen: int, plain: Callable[[float], tuple[float, float]] | None = None
) -> WinnerInterval:
    """Returns the 95 % interval of a chosen candidate from bootstrap values of all candidates; larger is better.

    The samples are drawn around shrunk differences: candidates whose distance from the best is no larger than its
    standard error count as equal to it, because choosing inflates these distances. The half-width is the mean of two
    deviations in the samples: that of this candidate alone, and that of whatever candidate is chosen in each.

    Measured with right and wrong answers of heads on photos of flowers and on CIFAR-10: 5 to 60 candidates that are
    equal, nearly equal, or one of which is clearly better, 75 to 1000 images. See the design notes for the figures.

    Args:
        values: (k,) the result of each candidate.
        draws: (k, m) the same for each bootstrap sample; all candidates have the same samples.
        chosen: the position of the chosen candidate.
        plain: the interval of a candidate that was not chosen, by its value; default: that of the chosen candidate's
            percentiles.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> right = rng.random((30, 200)) < 0.8  # thirty equal heads, two hundred images
        >>> best = share_winner(right, int(right.mean(axis=1).argmax()))
        >>> round(best.value, 2), round(best.corrected, 2), best.low < 0.8 < best.high
        (0.85, 0.8, True)

    References:
        Tsamardinos, Greasidou, Borboudakis, "Bootstrapping the out-of-sample predictions for efficient and accurate
        cross-validation", Machine Learning 107, 2018. Andrews, Kitagawa, McCloskey, "Inference on Winners", Quarterly
        Journal of Economics 139, 2024.
    """
    errors = draws - values[:, None]
    gaps = values[chosen] - values
    squares = np.var(errors[chosen] - errors, axis=1)
    shrunk = gaps * np.maximum(0.0, 1 - squares / np.maximum(gaps**2, 1e-12))
    lucky = np.argmax(errors - shrunk[:, None], axis=0)
    luck = errors[lucky, np.arange(errors.shape[1])]
    corrected = float(values[chosen] - luck.mean())
    deviation = float(errors[chosen].std())
    factor = (1 + min(1.0, float(luck.std()) / deviation)) / 2 if deviation > 0 else 1.0
    low, high = _percentiles(corrected, errors[chosen]) if plain is None else plain(corrected)
    return WinnerInterval(
        float(values[chosen]), corrected, corrected - (corrected - low) * factor,
        corrected + (high - corrected) * factor, len(values),
    )  # fmt: skip


def share_winner(right: np.ndarray, chosen: int, groups: np.ndarray | None = None) -> WinnerInterval:
    """Returns the interval of the accuracy of a chosen candidate.

    Args:
        right: (k, n) bool or shares, whether each candidate is right for each image.
        chosen: the position of the chosen candidate.
        groups: (n,) the group of each image, if images of one group are not independent.
    """
    count = right.shape[1]
    values = right.mean(axis=1)
    near = _near(right, values, chosen)
    resamples = Resamples(count, groups, SAMPLES)
    rows = right[near].astype(np.float64)
    draws = np.concatenate([_means(weights, rows) for weights in resamples.weights()], axis=1)
    position = int(np.flatnonzero(near == chosen)[0])
    effects = None if groups is None else GroupEffects.of_values(right[chosen].astype(float), groups)

    def plain(share: float) -> tuple[float, float]:
        if effects is not None:
            return effects.share_interval(share) or (0.0, 1.0)
        return proportion_interval(float(np.clip(share, 0, 1)), count)

    return _limited(winner_interval(values[near], draws, position, plain), len(right))


def metric_winner(
    metric: Metric, candidates: Sequence[ImageScores], chosen: int, groups: np.ndarray | None = None
) -> WinnerInterval:
    """Returns the interval of a metric of a chosen candidate.

    Args:
        metric: the metric.
        candidates: the same images, in the same order, as each candidate sees them.
        chosen: the position of the chosen candidate.
        groups: (n,) the group of each image, if images of one group are not independent.
    """
    if metric.interval == "wilson" and metric.per_image is not None:
        shares = np.stack([metric.per_image(images) for images in candidates])
        counted = ~np.isnan(shares).any(axis=0)  # the same for all candidates, as the images are
        return share_winner(shares[:, counted], chosen, None if groups is None else groups[counted])
    first = candidates[chosen]
    resamples = Resamples(len(first), groups, affordable(metric, len(first), first.classes, SAMPLES))
    sign = metric.goodness(1.0)
    values = np.array([metric.of(images) for images in candidates])
    draws = np.stack([resamples.values(metric, images) for images in candidates])
    known = np.isfinite(draws).all(axis=0)
    effects = None if groups is None else GroupEffects.of(metric, first, groups)

    def plain(value: float) -> tuple[float, float]:
        assert effects is not None
        low, high = replace(effects, value=sign * value).interval(metric.scale) or (-np.inf, np.inf)
        return (low, high) if sign > 0 else (-high, -low)

    found = winner_interval(sign * values, sign * draws[:, known], chosen, None if effects is None else plain)
    low, high = sorted((sign * found.low, sign * found.high))
    return WinnerInterval(sign * found.value, sign * found.corrected, low, high, len(candidates))


def _near(right: np.ndarray, values: np.ndarray, chosen: int) -> np.ndarray:
    """Returns the positions of the candidates that may be chosen in a sample."""
    apart = right[chosen].astype(np.float64) - right
    error = np.sqrt(apart.var(axis=1) / right.shape[1])
    return np.flatnonzero(values[chosen] - values <= _FAR * error + 1 / right.shape[1])


def _means(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows @ weights.T / weights.sum(axis=1))


def _percentiles(centre: float, errors: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(errors, [2.5, 97.5])
    return centre + float(low), centre + float(high)


def _limited(found: WinnerInterval, candidates: int) -> WinnerInterval:
    """Returns an interval of a share within 0 and 1."""
    low, high = max(0.0, found.low), min(1.0, found.high)
    return WinnerInterval(found.value, found.corrected, low, high, candidates)
