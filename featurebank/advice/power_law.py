"""Fits error curves a + b m^-c, with the uncertainty of their forecasts.

The exponents are tried one by one; for each, a and b follow in closed form. So thousands of curves are fitted together:
one for each replicate of a bootstrap, whose spread is the uncertainty. Within each replicate the exponent is drawn with
the probability that the measurements give it, because few sizes hardly tell a steep curve with a floor from a flat one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EXPONENTS = np.geomspace(0.1, 1, 30)
"""The excess error of heads on fixed features falls with exponents in this range; each factor is equally likely."""


@dataclass(frozen=True)
class PowerLaws:
    """Error curves a + b m^-c, one for each replicate of a bootstrap; the first is that of the measurements."""

    offset: np.ndarray
    """(replicates,) float64, a: the error that is left with any number of images."""
    factor: np.ndarray
    """(replicates,) float64, b."""
    exponent: np.ndarray
    """(replicates,) float64, c."""

    def at(self, size: float) -> np.ndarray:
        """Returns the error of each curve for a number of images: (replicates,)."""
        return np.asarray(self.offset + self.factor * size**-self.exponent)


def fit_power_laws(sizes: np.ndarray, errors: np.ndarray, variances: np.ndarray, *, seed: int = 0) -> PowerLaws:
    """Fits a curve to each replicate by weighted least squares, with an offset and a factor that are not negative.

    Args:
        sizes: (s,) the numbers of images.
        errors: (replicates, s) the errors measured with them; the first row are those of all images.
        variances: (s,) of the errors; they are the weights.
        seed: of the exponents that are drawn; that of the first row is the best one.

    Example:
        >>> sizes = np.array([50, 100, 200, 400])
        >>> law = fit_power_laws(sizes, (0.1 + 2 / sizes)[None], np.ones(4) * 1e-4)
        >>> law.exponent.round(2), law.at(800).round(4)
        (array([1.]), array([0.1025]))
    """
    weights = 1 / np.maximum(variances, 1e-12)
    scale = float(sizes[-1])
    offsets, factors, losses = (np.empty((len(EXPONENTS), len(errors))) for _ in range(3))
    for place, exponent in enumerate(EXPONENTS):
        shape = (sizes / scale) ** -exponent
        offsets[place], factors[place] = _nonnegative_line(shape, errors, weights)
        losses[place] = ((errors - offsets[place][:, None] - np.outer(factors[place], shape)) ** 2 * weights).sum(
            axis=1
        )
    likelihood = np.exp(-(losses - losses.min(axis=0)) / 2)
    cumulated = np.cumsum(likelihood / likelihood.sum(axis=0), axis=0)
    random = np.random.default_rng(seed).random(len(errors))
    which = np.minimum((cumulated < random).sum(axis=0), len(EXPONENTS) - 1)
    which[0] = losses[:, 0].argmin()
    rows = np.arange(len(errors))
    exponents = EXPONENTS[which]
    return PowerLaws(offsets[which, rows], factors[which, rows] * scale**exponents, exponents)


def _nonnegative_line(shape: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns offsets and factors (replicates,) of errors = offset + factor * shape, neither below 0."""
    total, mean = weights.sum(), (weights @ shape) / weights.sum()
    means = errors @ weights / total
    factors = (errors @ (weights * (shape - mean))) / (weights @ (shape - mean) ** 2)
    factors = np.maximum(factors, 0)
    offsets = means - factors * mean
    alone = errors @ (weights * shape) / (weights @ shape**2)  # the best factor without an offset
    return np.maximum(offsets, 0), np.where(offsets < 0, alone, factors)
