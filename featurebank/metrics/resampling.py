"""Bootstrap samples of images, or of whole groups of images, and the metrics of these samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric

_WORK = 1 << 22
"""Weights in memory at a time."""
_LARGE = 1 << 26
"""Largest number of samples times images times classes of one bootstrap."""
_LEAST = 100
SAMPLES = 1000


@dataclass(frozen=True)
class Resamples:
    """Bootstrap samples of images; the same arguments give the same samples.

    Args:
        count: the number of images.
        groups: (n,) the group of each image: whole groups are drawn then, because images of one group are not
            independent; None draws images.
        samples: the number of samples.
        seed: seed of the random generator.

    References:
        Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 7, 1979. Of groups: Field,
        Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69, 2007.

    Example:
        >>> resamples = Resamples(4, np.array([7, 7, 9, 9]), samples=2)
        >>> [weights.tolist() for weights in resamples.weights()]
        [[[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0]]]
    """

    count: int
    groups: np.ndarray | None = None
    samples: int = SAMPLES
    seed: int = 0

    @cached_property
    def _codes(self) -> np.ndarray | None:
        return None if self.groups is None else np.unique(self.groups, return_inverse=True)[1].reshape(-1)

    @property
    def units(self) -> int:
        """The number of independent units that are drawn: groups, or images."""
        return self.count if self._codes is None else int(self._codes.max(initial=-1)) + 1

    def weights(self) -> Iterator[np.ndarray]:
        """Yields how often each image is in each sample, (m, n) float64, some samples at a time."""
        rng, units = np.random.default_rng(self.seed), self.units
        size = max(1, _WORK // max(1, self.count))
        for start in range(0, self.samples, size):
            block = min(size, self.samples - start)
            drawn = rng.integers(0, units, (block, units)) + np.arange(block)[:, None] * units
            counts = np.bincount(drawn.reshape(-1), minlength=block * units).reshape(block, units).astype(float)
            yield counts if self._codes is None else counts[:, self._codes]

    def values(self, metric: Metric, images: ImageScores) -> np.ndarray:
        """Returns the metric of each sample, (samples,); NaN where it is not defined."""
        if metric.per_image is not None:
            return self.means(metric.per_image(images))
        return np.concatenate([weighted_values(metric, images, weights) for weights in self.weights()])

    def means(self, values: np.ndarray) -> np.ndarray:
        """Returns the mean of one value for each image, of each sample, (samples,); images with NaN do not count."""
        counted = ~np.isnan(values)
        known = np.where(counted, values, 0.0)
        sums = [(weights @ known, weights @ counted.astype(float)) for weights in self.weights()]
        above, below = (np.concatenate(part) for part in zip(*sums, strict=True))
        return np.asarray(np.divide(above, below, where=below > 0, out=np.full(len(above), np.nan)))


def counted_units(values: np.ndarray, groups: np.ndarray | None = None) -> int:
    """Returns the number of independent images or groups that have a value.

    Args:
        values: (n,) one value for each image, NaN for images that do not count.
        groups: (n,) the group of each image, if images of one group are not independent.
    """
    counted = ~np.isnan(values)
    return int(counted.sum()) if groups is None else len(np.unique(groups[counted]))


def affordable(metric: Metric, count: int, classes: int, most: int = SAMPLES) -> int:
    """Returns a number of bootstrap samples that takes at most some seconds, 100 or more."""
    if metric.per_image is not None:
        return most
    work = count * (classes if metric.needs_probabilities else 1) * (1 if metric.by_weights else 20)
    return max(min(_LEAST, most), min(most, _LARGE // max(1, work)))


def weighted_values(metric: Metric, images: ImageScores, weights: np.ndarray) -> np.ndarray:
    """Returns a metric for each of several weightings of the images, (m, n) whole numbers -> (m,)."""
    if metric.by_weights is not None:
        return metric.by_weights(images, weights)
    rows = [np.repeat(np.arange(len(images)), row.astype(int)) for row in weights]
    return np.array([metric.of(images.select(row)) for row in rows])
