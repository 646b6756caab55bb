"""What a lower precision does to features: the first images of an extraction, computed in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from featurebank.engine.catalog import Engine

IMAGES = 64
"""How many images are computed in both precisions."""
LEAST_COSINE = 0.99
"""Below this the user is warned."""


@dataclass
class PrecisionTrial:
    """Compares features with those of the same images in float32, until there are `IMAGES` of them.

    Args:
        load: gives an engine in float32 for the taps of a batch.
    """

    load: Callable[[tuple[str, ...]], Engine]
    cosines: dict[str, list[float]] = field(default_factory=dict)
    _left: dict[str, int] = field(default_factory=dict)
    _engines: dict[tuple[str, ...], Engine] = field(default_factory=dict)

    def add(self, images: np.ndarray, features: dict[str, np.ndarray]) -> bool:
        """Compares a batch, where there have been too few.

        Args:
            images: (n, size, size, 3) uint8.
            features: for each tap (n, ...) float32, as they will be stored.

        Returns:
            Whether these were the last images of the trial.
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
        """Lets go of the engine."""
        while self._engines:
            self._engines.popitem()[1].close()

    def summary(self) -> dict[str, dict[str, float]]:
        """Returns for each tap the mean and the least cosine, and of how many images."""
        return {
            tap: {"mean": round(float(np.mean(found)), 5), "least": round(min(found), 5), "images": len(found)}
            for tap, found in self.cosines.items()
        }


def _cosines(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cosine of each row with the same row of others: (n,) float64; 1 where both are zero."""
    a, b = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (some, others))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    alike = np.linalg.norm(a - b, axis=1) == 0
    return np.where(alike, 1.0, (a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny))
