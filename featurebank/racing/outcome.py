"""The result of a race."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.bank import Bank
from featurebank.racing.winner import WinnerInterval
from featurebank.runs.run import RunRecord
from featurebank.system.html import never_fails
from featurebank.words import counted, duration


@dataclass(frozen=True)
class RoundScore:
    """What a round found of one candidate."""

    candidate: str
    images: int
    """Training images in the part."""
    accuracy: float
    """Leave-one-out accuracy of ridge regression."""
    loss: float
    """Its leave-one-out log loss, by which the round ranks."""
    logme: float
    distance: float
    """How much worse its loss is than that of the best candidate, in standard errors of the paired difference."""
    images_per_second: float | None
    """The speed of the extraction; None if none is recorded."""
    decision: str
    """"best", "stays" or "leaves"."""

    def summary(self) -> dict[str, Any]:
        """Returns the score as JSON values."""
        return {
            "candidate": self.candidate, "images": self.images, "loo_accuracy": self.accuracy, "loo_loss": self.loss,
            "logme": self.logme, "standard_errors": self.distance, "images_per_second": self.images_per_second,
            "decision": self.decision,
        }  # fmt: skip


@dataclass(frozen=True)
class Race:
    """The result of a race: who won, how sure that is, and what it cost.

    Attributes:
        rounds: the scores of each round, the best first.
        finalists: the candidates whose whole banks were filled, the best of the last round first.
        banks: their banks, in the same order.
        runs: the runs of the grid on these banks, best first.
        chosen: the best run by validation; None if the budget ended before the heads were trained.
        winner: the name of the winning candidate.
        interval: the result of the winner with its 95 % interval, corrected for the choice: of the chosen
            run on the validation images, or, without one, of the left-out images of the last round.
        metric: what `interval` is about.
        seconds: the duration of the race.
        full_seconds: the estimated duration of a full search, that extracts everything with each candidate and trains
            the grid on each bank; None if the speed of a candidate is unknown.
        images: how many images went through a network for this race, now or in an earlier call.
        full_images: how many a full search needs.
        unfinished: what the budget did not allow; empty if the race is complete.

    Example:
        >>> found = fb.race("photos", ["my_networks:small", "my_networks:small@random:1"], grid="quick", part=12)
        >>> found.winner in found.finalists, found.bank in found.banks, found.unfinished
        (True, True, '')
    """

    rounds: Sequence[Sequence[RoundScore]]
    finalists: Sequence[str]
    banks: Sequence[Bank]
    runs: Sequence[RunRecord]
    chosen: RunRecord | None
    winner: str
    interval: WinnerInterval | None
    metric: str
    seconds: float
    full_seconds: float | None
    images: int
    full_images: int
    unfinished: str = ""

    @property
    def bank(self) -> Bank | None:
        """The bank of the winner; None if the budget ended before it was filled."""
        return self.banks[self.finalists.index(self.winner)] if self.banks else None

    def __repr__(self) -> str:
        return f"<Race of {counted(len(self.rounds[0]), 'backbone')}, won by {self.winner}>"

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        from featurebank.racing.display import race_html

        return race_html(self)

    @property
    def verdict(self) -> str:
        """The winner and how sure its result is, in one line."""
        if self.interval is None:
            return f"winner: {self.winner}"
        found = self.interval
        where = "on the validation images" if self.chosen else "of left-out training images"
        return (
            f"winner: {self.winner}, {self.metric} {found.value:.4f} {where}; corrected for having been chosen of "
            f"{counted(found.candidates, 'candidate')}: {found.corrected:.4f} (95 % interval {found.low:.4f} to "
            f"{found.high:.4f})"
        )

    @property
    def savings(self) -> str:
        """What a full search would have taken beside this, in one line."""
        share = (
            f"{self.images} of {self.full_images} image passes of a full search ({self.images / self.full_images:.0%})"
        )
        if self.full_seconds is None:
            return share
        return f"{share}, about {duration(self.full_seconds)} for a full search"

    def summary(self) -> dict[str, Any]:
        """Returns the result as JSON values."""
        return {
            "winner": self.winner,
            "bank": None if self.bank is None else str(self.bank.path),
            "best": None if self.chosen is None else self.chosen.run,
            "metric": self.metric,
            "interval": None if self.interval is None else self.interval.summary(),
            "finalists": list(self.finalists),
            "rounds": [[one.summary() for one in scores] for scores in self.rounds],
            "seconds": round(self.seconds, 3),
            "full_seconds": self.full_seconds,
            "images": self.images,
            "full_images": self.full_images,
            "unfinished": self.unfinished,
        }
