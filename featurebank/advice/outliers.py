"""Images that resemble no other: their distances to the nearest images of their own class and of all others.

Distances are one minus the cosine of prepared features (`heads/exact/kernel_left_out.STEPS`). An image is an outlier if
the mean distance to its nearest neighbours, of whatever class, is beyond Tukey's outer fence: three interquartile
ranges above the upper quartile.

References:
    Tukey, "Exploratory Data Analysis", 1977.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featurebank.heads.exact.kernel_left_out import STEPS
from featurebank.heads.exact.transforms import row_blocks
from featurebank.system.runtime import limited_blas

NEIGHBOURS = 5
FENCE = 3.0
"""How many interquartile ranges above the upper quartile an outlier is."""
LEAST_IMAGES = 4 * NEIGHBOURS
"""Among fewer images, no distance is unusual."""


@dataclass(frozen=True)
class Outliers:
    """The images that are far from all others, the farthest first, with the distances of all."""

    rows: np.ndarray
    """(k,) int64."""
    fence: float
    """The distance above which an image is an outlier."""
    nearest: np.ndarray
    """(n,) float64, the mean distance to the nearest images."""
    own: np.ndarray
    """(n,) float64, the mean distance to the nearest images of the same class; NaN without another image of it."""
    others: np.ndarray
    """(n,) float64, the mean distance to the nearest images of other classes; NaN if there are none."""


def outliers(
    features: np.ndarray, labels: np.ndarray, *, progress: Callable[[int], None] = lambda count: None
) -> Outliers:
    """Finds the images that resemble no other.

    Args:
        features: (n, d) float32.
        labels: (n,) integers.
        progress: called with the number of further images that were compared with all others.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> features = rng.uniform(1, 2, (40, 8)).astype(np.float32)
        >>> features[3, :4] = 0
        >>> outliers(features, np.arange(40) % 2).rows
        array([3])
    """
    unit = STEPS.rows(features)
    nearest, own, others = (np.full(len(unit), np.nan) for _ in range(3))
    with limited_blas():
        for rows in row_blocks(len(unit), 2 * len(unit)):
            distances = 1 - unit[rows] @ unit.T
            here = np.arange(len(unit))[rows]
            distances[np.arange(len(here)), here] = np.inf
            alike = labels[here][:, None] == labels
            nearest[here] = _mean_of_least(distances)
            own[here] = _mean_of_least(np.where(alike, distances, np.inf))
            others[here] = _mean_of_least(np.where(alike, np.inf, distances))
            progress(len(here))
    fence = _fence(nearest)
    beyond = np.flatnonzero(nearest > fence) if len(unit) >= LEAST_IMAGES else np.empty(0, np.int64)
    return Outliers(beyond[np.argsort(-nearest[beyond], kind="stable")], fence, nearest, own, others)


def _fence(distances: np.ndarray) -> float:
    if not len(distances):
        return np.inf
    lower, upper = np.quantile(distances, [0.25, 0.75])
    return float(upper + FENCE * max(upper - lower, 1e-6))


def _mean_of_least(distances: np.ndarray) -> np.ndarray:
    """Returns the mean of the least finite distances of each row (m,); NaN if a row has none."""
    count = min(NEIGHBOURS, distances.shape[1])
    least = np.partition(distances, count - 1, axis=1)[:, :count].astype(np.float64)
    finite = np.isfinite(least)
    sums, counts = np.where(finite, least, 0).sum(axis=1), finite.sum(axis=1)
    return np.asarray(np.where(counts > 0, np.maximum(sums, 0) / np.maximum(counts, 1), np.nan))
