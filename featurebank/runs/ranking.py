"""The order of runs by validation alone, kept up to date while runs come in."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import fsum, inf
from typing import Any

from featurebank.fitting.spec import HeadSpec
from featurebank.runs.run import Run
from featurebank.system.progress import BestSoFar
from featurebank.words import counted

LOSS_DIGITS = 9
"""Losses that differ by less are equal: what lies behind is rounding, which the number of threads decides."""


@dataclass
class Group:
    """The runs of one specification under one protocol, failed ones left out; what is ranked.

    Sums are exact, so that the order in which runs came in changes nothing.
    """

    spec: HeadSpec
    folds: int
    """1 is the bank's own split."""
    runs: list[Run] = field(default_factory=list)
    """The better first."""

    def add(self, run: Run) -> None:
        """Takes one more run of the specification, or another record of one."""
        self.runs = [known for known in self.runs if known.run != run.run]
        insort(self.runs, run, key=_within)

    @property
    def accuracy(self) -> float:
        """The mean validation accuracy over seeds and folds; each image counts alike."""
        weights = [run.metrics["val"].get("images", 1) for run in self.runs]
        right = fsum(run.metrics["val"]["accuracy"] * w for run, w in zip(self.runs, weights, strict=True))
        return right / fsum(weights)

    @property
    def loss(self) -> float:
        """The mean validation loss."""
        return _mean([run.metrics["val"]["loss"] for run in self.runs])

    @property
    def seconds(self) -> float:
        """The mean time of training."""
        return _mean([run.seconds for run in self.runs])

    @property
    def parameters(self) -> float | None:
        """The mean number of trained numbers; None where no run can tell."""
        known = [run.parameters for run in self.runs if run.parameters is not None]
        return _mean(known) if known else None

    @property
    def images(self) -> int | None:
        """How many different images it is judged on; None where its runs do not tell."""
        folds = {run.fold[0] if run.fold else 0: run.metrics["val"].get("images") for run in self.runs}
        known = [count for count in folds.values() if count is not None]
        return sum(known) if len(known) == len(folds) else None

    @property
    def complete(self) -> bool:
        """Whether it was judged on every fold; otherwise on fewer images than the others."""
        return self.folds == 1 or len({run.fold[0] for run in self.runs if run.fold}) == abs(self.folds)

    def order(self) -> tuple[Any, ...]:
        """Returns the key by which groups of one protocol are sorted.

        Groups that were judged on every fold come first. Accuracy decides next, to the nearest whole image; of equal
        ones the group with fewer parameters comes first, then the one with the smaller loss, then the one with the
        smaller key. Time plays no part: the same runs have the same order on every machine.
        """
        images, accuracy = self.images, self.accuracy
        rounded = round(accuracy * images) / images if images else round(accuracy, 12)
        size = inf if self.parameters is None else self.parameters
        return (not self.complete, -rounded, size, round(self.loss, LOSS_DIGITS), self.spec.key)


class Standing:
    """The specifications of one protocol, best first, after each run that was added.

    Adding a run takes O(log n) comparisons of n specifications.

    Args:
        runs: those that are known already.
        folds: the protocol: 1 is the bank's own split. Runs of others are passed over, as those that failed or were
            stopped in a race.
    """

    def __init__(self, runs: Iterable[Run] = (), *, folds: int = 1) -> None:
        self._folds = folds
        self._groups: dict[str, Group] = {}
        self._order: list[tuple[Any, ...]] = []
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Takes one more run, or another record of one."""
        if not self._counts(run):
            return
        spec = run.spec
        key = spec.key
        if key in self._groups:
            del self._order[bisect_left(self._order, self._groups[key].order())]
        group = self._groups.setdefault(key, Group(spec, self._folds))
        group.add(run)
        insort(self._order, group.order())

    def would_be_first(self, run: Run) -> bool:
        """Tells whether a run that has not been added would rank first."""
        if not self._counts(run):
            return False
        known = self._groups.get(run.spec.key)
        group = Group(run.spec, self._folds, list(known.runs) if known else [])
        group.add(run)
        others = [order for order in self._order[:2] if order[-1] != run.spec.key]
        return group.runs[0].run == run.run and all(group.order() < order for order in others)

    def _counts(self, run: Run) -> bool:
        return not (run.failure or run.rung) and run.folds == self._folds

    @property
    def first(self) -> Run | None:
        """The run that `ranked` would put first; None before one has succeeded."""
        return self.top(1)[0].runs[0] if self._order else None

    def top(self, count: int | None = None) -> list[Group]:
        """Returns the best specifications, all of them by default."""
        return [self._groups[order[-1]] for order in self._order[:count]]

    def rows(self, count: int = 5) -> list[BestSoFar]:
        """Returns the best specifications as `Reporter.standing` shows them."""
        return [BestSoFar(str(group.spec), group.accuracy, group.seconds) for group in self.top(count)]


def ranked(runs: Iterable[Run], *, folds: int | None = None) -> list[Run]:
    """Returns the runs, best first, by validation alone.

    Runs of equal specification are judged by the mean of their accuracies over seeds and folds (so that a lucky seed
    does not win); see `Group.order` for what decides between equal ones. Within a specification the better run comes
    first. Runs of other protocols than `folds` come after those, then what a race stopped, then what failed.

    Args:
        runs: of one bank.
        folds: the protocol that comes first; default: see `latest_folds`.
    """
    runs = list(runs)
    first = latest_folds(runs) if folds is None else folds
    others = sorted({run.folds for run in runs} - {first}, reverse=True)
    found = [run for number in (first, *others) for group in Standing(runs, folds=number).top() for run in group.runs]
    return found + sorted((run for run in runs if run.failure or run.rung), key=_behind)


def in_words(folds: int) -> str:
    """Returns a protocol in words, as "5 folds"; see `Run.folds`."""
    if folds == 1:
        return "the bank's own split"
    return counted(folds, "fold") if folds > 0 else f"the dataset's {counted(-folds, 'fold')}"


def latest_folds(runs: Iterable[Run]) -> int:
    """Returns the number of folds that the latest grid was judged on; 1 is the bank's own split.

    A run on the bank's own split does not tell where its specification was judged on folds, too: after a grid on
    folds the chosen specification is trained once more on the whole training split.
    """
    runs = list(runs)
    on_folds = {run.spec.key for run in runs if run.folds != 1}
    telling = [run for run in runs if run.folds != 1 or not on_folds or run.spec.key not in on_folds]
    return max(telling, key=lambda run: (run.created, abs(run.folds))).folds if telling else 1


def _within(run: Run) -> tuple[Any, ...]:
    return (-run.metrics["val"]["accuracy"], run.metrics["val"]["loss"], run.seed, run.fold or (), run.run)


def _behind(run: Run) -> tuple[Any, ...]:
    if run.failure:
        return (1, run.head, run.run)
    return (0, -(run.rung or (0,))[0], -run.metrics["val"]["accuracy"], run.run)


def _mean(values: list[float] | list[int]) -> float:
    return fsum(values) / len(values)
