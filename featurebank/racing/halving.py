"""The rules of a race: who stays after a part, how large the next part is, and who is extracted wholly.

A candidate leaves if it is clearly worse than the best one by the paired differences on the same images. If more than
half would stay, those leave, too, that are probably worse. Candidates that cannot be told apart from the best one stay.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CLEARLY = 1.645
"""Standard errors of the paired difference: a candidate that is worse by more leaves."""
PROBABLY = 0.675
"""A candidate in the worse half that is worse by more standard errors than this leaves."""
FIRST_SHARE = 0.05
"""The first part, as a share of the dataset."""
FIRST_MOST = 1000
"""The largest first part, in images."""
LEAST_PER_CLASS = 4
LEAST = 20
"""The smallest first part, in images of each class and in all."""
GROWTH = 3
"""A part is at most this many times as large as the one before."""
WORTHWHILE = 1.25
"""The next part is at least this many times as large; otherwise it would say little more."""
LEAST_FURTHER = 200
"""The smallest part after the first, in images: with fewer, candidates that are nearly equal cannot be told apart."""
LARGEST = 9000
"""The largest part, in images: leave-one-out needs their features in memory, and more images decide hardly more."""


def first_part(images: int, classes: int) -> int:
    """Returns the number of training images in the first part.

    Args:
        images: the number of images of the whole dataset.
        classes: its number of classes.
    """
    return max(LEAST, LEAST_PER_CLASS * classes, min(FIRST_MOST, round(FIRST_SHARE * images)))


def next_part(now: int, staying: int, left: float, available: int) -> int | None:
    """Returns the number of images in the next part; None if there is none.

    Args:
        now: the number of images in the last part.
        staying: the number of candidates that stay.
        left: the number of images that may still be computed, for all candidates together.
        available: the number of training images of the dataset.
    """
    if staying < 2:  # noqa: PLR2004 - the winner is clear
        return None
    size = min(max(GROWTH * now, LEAST_FURTHER), now + int(left / staying), available, LARGEST)
    return size if size >= min(max(WORTHWHILE * now, LEAST_FURTHER), available) and size > now else None


def distances(losses: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Returns how much worse each candidate is than the best one, in standard errors of the paired difference: (k,).

    Args:
        losses: (k, n) the log loss of each candidate for each image.
        groups: (n,) the group of each image, if images of one group are not independent.

    Example:
        >>> distances(np.array([[0.1, 0.3, 0.2, 0.4], [0.6, 0.7, 0.9, 0.8], [0.3, 0.1, 0.4, 0.3]])).round(1)
        array([0. , 7.1, 0.2])
    """
    best = int(losses.mean(axis=1).argmin())
    apart = losses - losses[best]
    mean, count = apart.mean(axis=1), losses.shape[1]
    centred = apart - mean[:, None]
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1].reshape(-1)
        centred = np.stack([np.bincount(codes, row) for row in centred])
    units = centred.shape[1]
    error = np.sqrt((centred**2).sum(axis=1) * units / max(1, units - 1)) / count
    return np.asarray(np.divide(mean, error, where=error > 0, out=np.where(mean > 0, np.inf, 0.0)))


def staying(losses: np.ndarray, groups: np.ndarray | None = None) -> list[int]:
    """Returns the positions of the candidates that stay after a part, the best first; arguments as in `distances`."""
    apart = distances(losses, groups)
    order = np.argsort(losses.mean(axis=1), kind="stable")
    half = (len(order) + 1) // 2
    limits = np.where(np.arange(len(order)) < half, CLEARLY, PROBABLY)
    return [int(position) for position, limit in zip(order, limits, strict=True) if apart[position] <= limit]


def finalists(order: Sequence[int], seconds: Sequence[float], most: float) -> list[int]:
    """Returns the candidates that are extracted wholly: the best one, and those after it that the time allows.

    Args:
        order: the candidates that cannot be told apart, the best first.
        seconds: for each candidate, the expected time of the rest of its extraction.
        most: the time for all of them together.
    """
    found, used = [order[0]], seconds[order[0]]
    for position in order[1:]:
        if used + seconds[position] <= most:
            found.append(position)
            used += seconds[position]
    return found
