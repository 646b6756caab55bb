"""Effect of a lower precision on features: computes the first images of an extraction in both precisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from featurebank.engine.catalog import Engine

IMAGES = 64
"""Number of images that are computed in both precisions."""
LEAST_COSINE = 0.99
"""A smaller cosine causes a warning."""


@dataclass
class PrecisionTrial:
    """Compares features with those of the same images in float32, for the first `IMAGES` images.

    Args:
        load: returns a float32 engine for the taps of a batch.
    """

    load: Callable[[tuple[str, ...]], Engine]
    cosines: dict[str, list[float]] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _engines: dict[tuple[str, ...], Engine] = field(default_factory=dict)

    def add(self, images: np.ndarray, features: dict[str, np.ndarray]) -> bool:
        """Compares a batch, unless enough images have been compared.

        Args:
            images: (n, size, size, 3) uint8.
            features: (n, ...) float32 for each tap, as they will be stored.

        Returns:
            Whether this batch completed the comparison.
        """
        taps = tuple(tap for tap in features if self._left.setdefault(tap, IMAGES) > 0)
        if not taps:
            return False
        if taps not in self._engines:
            self.close()
            self._engines[taps] = self.load(taps)
        exact = self._engines[taps](images)
        for tap in taps:
            self.cosines.setdefault(tap, []).extend(_cosines(features[tap], exact[tap]).tolist())
            self._left[tap] -= len(images)
        done = all(left <= 0 for left in self._left.values())
        if done:
            self.close()
        return done

    def close(self) -> None:
        """Closes the float32 engine."""
        while self._engines:
            self._engines.popitem()[1].close()

    def summary(self) -> dict[str, dict[str, float]]:
        """Returns for each tap the mean cosine, the smallest cosine and the number of images."""
        return {
            tap: {"mean": round(float(np.mean(cosines)), 5), "least": round(min(cosines), 5), "images": len(cosines)}
            for tap, cosines in self.cosines.items()
        }


def _cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cosine between corresponding rows: (n,) float64; 1 if the rows are equal."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (some, others))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = np.linalg.norm(a - b, axis=1) == 0
    return np.where(alike, 1.0, (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny))
