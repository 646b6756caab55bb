"""Abstention: the model answers only images whose doubt is small enough for an error that the user asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from featurebank.certainty.scores import (
    COUNT,
    check,
    doubts,
    ends_of_ties,
    is_share,
    numbers,
    rounded,
    rounded_up,
    share_text,
    shares_of,
    thin,
)
from featurebank.errors import ConfigError
from featurebank.statistics import proportion_interval
from featurebank.words import counted

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Abstention:
    """A threshold, and what it did on the calibration images."""

    target: float
    """The error among the answered images that was asked for."""
    threshold: float
    """Images of at most this doubt are answered; infinity for all."""
    share: float
    """The share of calibration images that are answered."""
    error: float
    """The share of wrong ones among them."""
    interval: tuple[float, float]
    """Wilson's 95 % interval of this error."""
    images: int
    """The number of all calibration images, or of groups."""
    unit: str = "validation image"
    """What `images` counts, in words."""

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Returns which images are answered, (n,) bool."""
        return np.asarray(top_doubts(probabilities) <= self.threshold)

    @property
    def sentence(self) -> str:
        """What to expect, in one line."""
        low, high = self.interval
        return (
            f"the threshold answers {self.share:.1%} of {counted(self.images, self.unit)}, with an error of "
            f"{self.error:.1%} among the answered (95 % interval {low:.1%} to {high:.1%}; asked for: {self.target:.3g})"
        )


@dataclass(frozen=True, eq=False)
class AbstentionTable:
    """How many calibration images are answered, and how many of these are wrong, up to each doubt.

    Example:
        >>> table = AbstentionTable.of(np.array([[0.9, 0.1]] * 60 + [[0.6, 0.4]] * 20), np.array([0] * 61 + [1] * 19))
        >>> chosen = table.choose(0.02)
        >>> round(chosen.threshold, 2), chosen.share, chosen.error
        (-2.2, 0.75, 0.0)
    """

    doubt: np.ndarray
    """(k,) float64, ascending."""
    answered: np.ndarray
    """(k,) float64, ascending: images, or groups of them, of at most this doubt."""
    wrong: np.ndarray
    """(k,) float64, ascending: the wrong ones among them."""
    units: int
    """The number of all images, or of all groups; see `scores.shares_of`."""

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """Makes the table.

        Args:
            probabilities: (n, classes).
            labels: (n,).
            groups: (n,) the group of each image; None without groups.
        """
        shares, units = shares_of(len(labels), groups)
        scores, is_wrong = rounded_up(top_doubts(probabilities)), np.argmax(probabilities, axis=1) != labels
        order = np.argsort(scores, kind="stable")
        scores = scores[order]
        answered, wrong = np.cumsum(shares[order]), np.cumsum((shares * is_wrong)[order])
        last = ends_of_ties(scores)
        places = last[thin(answered[last], units)]
        return cls(rounded(scores[places]), answered[places], wrong[places], units)

    def choose(self, error: float, unit: str = "validation image") -> Abstention:
        """Returns the threshold that answers most images at an error among the answered.

        It is the largest doubt at which (wrong + 1) / (answered + 1) is at most `error`. The addition of 1 makes up for
        the choice of the best among many thresholds: if calibration images and new ones are exchangeable, the expected
        ratio of wrong answers among new images to answers among as many calibration images is at most `error`. This
        holds however often the bound crosses the limit; no answer counts as no error. That is an expectation over sets
        of calibration images: for one of them the interval says how far the error may be from it, and where most such
        sets would reach no threshold, those that do err more.

        Args:
            error: between 0 and 1.
            unit: what the table counts, in words: each image, or each group.

        Raises:
            ConfigError: the error is not between 0 and 1, or no threshold reaches it.

        References:
            Barber, Candès, "Controlling the false discovery rate via knockoffs", Annals of Statistics 43, 2015. Jin,
            Candès, "Selection by Prediction with Conformal p-values", JMLR 24, 2023.
        """
        found = self.find(error)
        if found is None:
            best = float(self._bounds.min(initial=1.0))
            message = (
                f"no threshold reaches an error of {error:g} on {counted(self.units, unit)}: the "
                f"smallest that can be asked for is {np.ceil(best * 1000) / 1000:g}; ask for that, or export a model "
                f"that has more {unit}s"
            )
            raise ConfigError(message)
        return replace(found, unit=unit)

    def find(self, error: float) -> Abstention | None:
        """Returns the threshold of `choose`; None if none reaches the error.

        Raises:
            ConfigError: the error is not between 0 and 1.
        """
        check_error(error)
        reached = np.flatnonzero(self._bounds <= error + _ROUNDING)
        if not len(reached):
            return None
        place = int(reached[-1])
        answered, wrong = float(self.answered[place]), float(self.wrong[place])
        everything = place == len(self.doubt) - 1
        return Abstention(
            error, float("inf") if everything else float(self.doubt[place]), answered / self.units, wrong / answered,
            proportion_interval(wrong / answered, max(1, round(answered))), self.units,
        )  # fmt: skip

    @property
    def _bounds(self) -> np.ndarray:
        return np.asarray((self.wrong + 1) / (self.answered + 1))

    def to_json(self) -> dict[str, Any]:
        """Returns the table as JSON values."""
        columns = {name: rounded(getattr(self, name)).tolist() for name in ("doubt", "answered", "wrong")}
        return {**columns, "units": self.units}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        doubt, answered, wrong = (numbers(value[name]) for name in ("doubt", "answered", "wrong"))
        units = value["units"]
        check(type(units) is int and 0 < units <= COUNT, "the number of images")
        check(len(doubt) == len(answered) == len(wrong) > 0, "a table of answers")
        check(all(bool((np.diff(column) >= 0).all()) for column in (doubt, answered, wrong)), "the order of answers")
        check(bool(answered[0] > 0 and (wrong >= 0).all() and (wrong <= answered + 1e-6).all()), "counts of answers")
        check(bool(answered[-1] <= units + 1e-6), "the number of images")
        return cls(doubt, np.minimum(answered, units), np.minimum(wrong, answered), units)


def check_error(error: float) -> None:
    """Raises ConfigError if an error among the answered is not between 0 and 1."""
    if not is_share(error):
        message = f"the error to abstain at is {share_text(error)}: expected a number between 0 and 1, as .02"
        raise ConfigError(message)


def top_doubts(probabilities: np.ndarray) -> np.ndarray:
    """Returns the doubt of the most probable class of each image, (n,) float64."""
    return np.asarray(doubts(probabilities).min(axis=1, initial=np.inf))
