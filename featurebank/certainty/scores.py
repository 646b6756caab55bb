"""Scores of validation images: how large those of new images will be, whatever their distribution is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featurebank.words import shown

MOST = 2000
"""Maximum number of values that a table stores."""
DIGITS = 7
"""Significant digits of stored numbers: probabilities are float32."""
COUNT = 1 << 53
"""Maximum number of images: larger whole numbers are not exact as floats."""
_LARGEST = 1e100
"""Maximum size of a stored number: of larger ones, sums and squares are infinite."""
_ROUNDING = 1e-12
_LEAST = 1e-30
"""The least probability: smaller ones may be 0 in float32, which models compute in."""


def doubts(probabilities: np.ndarray) -> np.ndarray:
    """Returns the doubt about every class, (n, classes) float64: the logarithm of the odds against it.

    The order is that of 1 - p. But 1 - p is 0 or 1 for many images of a head that is sure, right or wrong, and
    these could not be told apart: one threshold would let all their classes in. So the odds of the most probable class
    are computed from the sum of the others.

    Args:
        probabilities: (n, classes).

    Example:
        >>> doubts(np.array([[0.75, 0.25], [1.0, 1e-9]])).round(1).tolist()
        [[-1.1, 1.1], [-20.7, 20.7]]
    """
    rows = np.asarray(probabilities, np.float64)
    against, top = 1 - rows, rows.argmax(axis=1, keepdims=True)
    others = rows.copy()
    np.put_along_axis(others, top, 0, axis=1)
    np.put_along_axis(against, top, others.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(np.log(np.maximum(against, _LEAST)) - np.log(np.maximum(rows, _LEAST)))


def rounded_up(scores: np.ndarray) -> np.ndarray:
    """Returns doubts as thresholds: a little greater, so that the image itself passes in every format of models.

    Args:
        scores: doubts; a step of .001 is a thousandth of the odds.
    """
    return np.asarray(np.ceil(scores * 1000 + 0.1) / 1000)


def shares_of(count: int, groups: np.ndarray | None) -> tuple[np.ndarray, int]:
    """Returns the weight of each image, and the number of independent units that the weights add up to.

    Without groups each image is a unit. Images of one group are not independent, so a group is one unit, of which each
    of its images has an equal part: a group of 500 images then says no more than one of 5.

    Args:
        count: the number of images.
        groups: (n,) the group of each image; None without groups.

    References:
        Lee, Barber, Willett, "Distribution-free inference with hierarchical data", 2023, arXiv:2306.06342.

    Example:
        >>> shares_of(3, np.array([0, 0, 1]))
        (array([0.5, 0.5, 1. ]), 2)
    """
    if groups is None:
        return np.ones(count), count
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return 1 / sizes[place], len(sizes)


def ends_of_ties(values: np.ndarray) -> np.ndarray:
    """Returns the place of the last of each run of equal values, of ascending values."""
    return np.flatnonzero(np.append(values[1:] != values[:-1], np.ones(min(1, len(values)), bool)))


def thin(positions: np.ndarray, total: float, most: int = MOST) -> np.ndarray:
    """Returns which of many ascending positions a table stores: some evenly, and the more the nearer to the upper end.

    Args:
        positions: (n,) ascending, from 0 to at most `total`.
        total: the end of the scale.
        most: how many at most.

    Returns:
        Ascending indices, at most `most`; the last index is among them.
    """
    if len(positions) <= most:
        return np.arange(len(positions))
    even = np.linspace(0, positions[-1], most // 2)
    tail = total - np.geomspace(max(total - positions[-1], total * 1e-6), total, most - most // 2)
    places = np.searchsorted(positions, np.concatenate([even, tail, positions[-1:]]))
    return np.unique(np.minimum(places, len(positions) - 1))[-most:]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """The sorted scores of calibration images, with how often the score of a new image is at most each of them.

    Example:
        >>> table = ScoreTable.of(np.arange(19.0))
        >>> table.limit(0.95), table.limit(0.96)
        (18.0, inf)
    """

    values: np.ndarray
    """(k,) float64, ascending."""
    mass: np.ndarray
    """(k,) float64, ascending: a lower bound of the share of new images whose score is at most the value."""

    @classmethod
    def of(cls, scores: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Makes the table.

        Args:
            scores: (n,) finite.
            groups: (n,) the group of each image, see `shares_of`; None without groups.
        """
        shares, units = shares_of(len(scores), groups)
        order = np.argsort(scores, kind="stable")
        values, mass = np.asarray(scores, np.float64)[order], np.cumsum(shares[order]) / (units + 1)
        last = ends_of_ties(values)
        values, mass = values[last], mass[last]
        places = thin(mass, 1.0)
        return cls(rounded(values[places]), mass[places])

    def limit(self, share: float) -> float:
        """Returns the smallest value that at least a share of new images does not exceed; infinity if none is known.

        With n calibration images it is the one at rank ceil((n + 1) share). If these and a new image are
        exchangeable, the score of the new image is at most the limit with a probability of at least `share`.

        Args:
            share: between 0 and 1.

        References:
            Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", Springer 2005.
        """
        place = int(np.searchsorted(self.mass, share - _ROUNDING))
        return float(self.values[place]) if place < len(self.values) else float("inf")

    def share_above(self, scores: np.ndarray) -> np.ndarray:
        """Returns for each score the share of calibration images with a greater one, (n,) float64."""
        padded = np.append(0.0, self.mass)
        return np.asarray(1 - padded[np.searchsorted(self.values, scores, side="right")])

    def to_json(self) -> dict[str, Any]:
        """Returns the table as JSON values."""
        return {"values": self.values.tolist(), "mass": [round(value, 9) for value in self.mass.tolist()]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned.

        Raises:
            ValueError, KeyError, TypeError: it is damaged, or has more values than a table can have.
        """
        values, mass = (numbers(value[name]) for name in ("values", "mass"))
        check(len(values) == len(mass), "a table of scores")
        check(bool((np.diff(values) >= 0).all() and (np.diff(mass) >= 0).all()), "the order of scores")
        check(len(mass) > 0 and bool(mass[0] >= 0 and mass[-1] <= 1), "shares of scores")
        return cls(values, mass)


def rounded(values: np.ndarray) -> np.ndarray:
    """Returns numbers as they are stored, with `DIGITS` significant digits."""
    return np.array([float(f"{value:.{DIGITS}g}") for value in values.tolist()], np.float64)


def numbers(value: Any, most: int = MOST) -> np.ndarray:
    """Reads a list of finite numbers, (n,) float64.

    Raises:
        ValueError: it is something else, has more than `most` numbers, or one that no table can have.
    """
    sound = isinstance(value, list) and len(value) <= most
    check(sound and all(type(one) in {int, float} and abs(one) <= _LARGEST for one in value), "a list of numbers")
    return np.array(value, np.float64)


def is_share(value: object) -> bool:
    """Returns whether a value is a number above 0 and below 1."""
    return isinstance(value, float | np.floating) and bool(0 < value < 1)


def share_text(value: object) -> str:
    """Returns a value that is no share for a message: a number without needless digits."""
    return f"{value:g}" if isinstance(value, int | float) and abs(value) < COUNT else shown(value)


def check(sound: bool, what: str) -> None:  # noqa: FBT001 - a fact, not a switch
    """Raises ValueError if what a file says is not sound."""
    if not sound:
        raise ValueError(what)
