"""The order of runs by validation alone: the one place where runs are sorted and compared.

Leaderboard, selection, races and the journal (which shows the best heads so far and decides whose weights are kept) all
ask here. What runs are ranked by is a parameter, one of `featurebank.metrics.METRICS`; the default is accuracy.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import fsum, inf, isnan, nan, sqrt
from typing import Any, TypeVar

import numpy as np

from featurebank.fitting.spec import HeadSpec
from featurebank.metrics import ACCURACY, METRICS, Metric
from featurebank.runs.run import RunRecord
from featurebank.system.progress import BestSoFar
from featurebank.words import counted

DIGITS = 9
"""Losses, and metrics that count no images, are equal if they differ by less: such a difference is due to rounding,
which depends on the number of threads."""

Item = TypeVar("Item")


@dataclass
class Group:
    """The runs of one specification under one protocol, without those that failed: the unit that is ranked.

    Sums are exact, so that the order in which runs came in changes nothing.
    """

    spec: HeadSpec
    folds: int
    """1 is the bank's own split."""
    runs: list[RunRecord] = field(default_factory=list)
    """The better first."""
    metric: Metric = ACCURACY
    """What the group is ranked by."""

    def add(self, run: RunRecord) -> None:
        """Adds a run of the specification; an earlier record of the same run is replaced."""
        self.runs = [known for known in self.runs if known.run != run.run]
        insort(self.runs, run, key=self._within)

    def mean(self, metric: Metric) -> float:
        """Returns the mean of a validation metric over seeds and folds; NaN if a run does not have it.

        Each image has the same weight.
        """
        weights = [run.metrics["val"].get("images", 1) for run in self.runs]
        total = fsum(_value(run, metric) * weight for run, weight in zip(self.runs, weights, strict=True))
        return total / fsum(weights)

    @property
    def accuracy(self) -> float:
        """The mean validation accuracy over seeds and folds."""
        return self.mean(ACCURACY)

    @property
    def goodness(self) -> float:
        """The mean of the metric, larger is better; minus infinity if a run does not have it."""
        return _goodness(self.mean(self.metric), self.metric)

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
        """The mean number of trained numbers; None if no run knows it."""
        known = [run.parameters for run in self.runs if run.parameters is not None]
        return _mean(known) if known else None

    @property
    def size(self) -> float:
        """The mean number of trained numbers; infinity if no run knows it."""
        return inf if self.parameters is None else self.parameters

    @property
    def images(self) -> int | None:
        """The number of different images that the group was validated on; None if a run does not know it."""
        folds = {run.fold[0] if run.fold else 0: run.metrics["val"].get("images") for run in self.runs}
        known = [count for count in folds.values() if count is not None]
        return sum(known) if len(known) == len(folds) else None

    @property
    def complete(self) -> bool:
        """Whether it was validated on every fold; otherwise on fewer images than the others."""
        return self.folds == 1 or len({run.fold[0] for run in self.runs if run.fold}) == abs(self.folds)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean: between folds, else over the images and between the seeds.

        Over the images it is known for shares of the images alone; for other metrics it is that between the seeds, and
        0 for a single run.
        """
        folds: dict[int, list[float]] = {}
        for run in self.runs:
            folds.setdefault(run.fold[0] if run.fold else 0, []).append(_value(run, self.metric))
        if len(folds) > 1:
            return float(np.std([np.mean(values) for values in folds.values()], ddof=1)) / sqrt(len(folds))
        share = self.mean(self.metric)
        variance = share * (1 - share) / self.images if self.metric.is_share and self.images else 0.0
        seeds = next(iter(folds.values()))
        if len(seeds) > 1:
            variance += float(np.var(seeds, ddof=1)) / len(seeds)
        return sqrt(max(0.0, variance))

    def order(self) -> tuple[Any, ...]:
        """Returns the sort key of this group among the groups of one protocol.

        Groups that were validated on every fold come first. Then the metric decides: of shares of images, to the
        nearest whole image. Among equals the group with fewer parameters comes first, then the one with the smaller
        loss, then the one with the smaller key. Time is never considered: the same runs have the same order on every
        machine.
        """
        images, goodness = self.images, self.goodness
        if not self.metric.is_share:
            rounded = round(goodness, DIGITS)
        elif images and goodness > -inf:
            rounded = round(goodness * images) / images
        else:
            rounded = round(goodness, 12)
        return (not self.complete, -rounded, self.size, round(self.loss, DIGITS), self.spec.key)

    def _within(self, run: RunRecord) -> tuple[Any, ...]:
        goodness = _goodness(_value(run, self.metric), self.metric)
        return (-goodness, run.metrics["val"]["loss"], run.seed, run.fold or (), run.run)


class Ranking:
    """The specifications of one protocol, best first, kept up to date while runs come in.

    Adding a run takes O(log n) comparisons of n specifications.

    Args:
        runs: those that are known already.
        folds: the protocol: 1 is the bank's own split. Runs of other protocols are ignored, and so are runs that failed
            or were stopped in a race.
        metric: what decides.
    """

    def __init__(self, runs: Iterable[RunRecord] = (), *, folds: int = 1, metric: Metric = ACCURACY) -> None:
        self._folds, self._metric = folds, metric
        self._groups: dict[str, Group] = {}
        self._order: list[tuple[Any, ...]] = []
        for run in runs:
            self.add(run)

    def add(self, run: RunRecord) -> None:
        """Adds a run; an earlier record of the same run is replaced."""
        if run.failure or run.rung or run.folds != self._folds:
            return
        spec = run.spec
        key = spec.key
        if key in self._groups:
            del self._order[bisect_left(self._order, self._groups[key].order())]
        group = self._groups.setdefault(key, Group(spec, self._folds, metric=self._metric))
        group.add(run)
        insort(self._order, group.order())

    @property
    def first(self) -> RunRecord | None:
        """The run that `ranked` would put first; None before one has succeeded."""
        return self.top(1)[0].runs[0] if self._order else None

    def top(self, count: int | None = None) -> list[Group]:
        """Returns the best specifications, all of them by default."""
        return [self._groups[order[-1]] for order in self._order[:count]]

    def rows(self, count: int = 5) -> list[BestSoFar]:
        """Returns the best specifications as `Reporter.ranking` shows them."""
        return [BestSoFar(str(group.spec), group.accuracy, group.seconds) for group in self.top(count)]


def ranked(runs: Iterable[RunRecord], *, folds: int | None = None, metric: Metric = ACCURACY) -> list[RunRecord]:
    """Returns the runs, best first, by validation alone.

    A specification is ranked by the mean of the metric over seeds and folds, so that a lucky seed does not win; see
    `Group.order` for ties. Within a specification the better run comes first. Runs of other protocols than `folds` come
    after those, then runs that were stopped in a race, then runs that failed.

    Args:
        runs: of one bank.
        folds: the protocol that comes first; default: see `latest_folds`.
        metric: what decides.
    """
    runs = list(runs)
    first = latest_folds(runs) if folds is None else folds
    others = sorted({run.folds for run in runs} - {first}, reverse=True)
    rankings = [Ranking(runs, folds=number, metric=metric) for number in (first, *others)]
    best_first = [run for ranking in rankings for group in ranking.top() for run in group.runs]
    return best_first + sorted((run for run in runs if run.failure or run.rung), key=lambda run: _behind(run, metric))


def best_of(items: Iterable[Item], run_of: Callable[[Item], RunRecord], *, metric: Metric = ACCURACY) -> Item:
    """Returns the best of some items that each have one run, which may be of different banks."""
    return min(items, key=lambda item: Group(run_of(item).spec, 1, [run_of(item)], metric).order())


def best_value(runs: Iterable[RunRecord], *, metric: Metric = ACCURACY) -> float | None:
    """Returns the best value of a single run on the bank's own split; None if there is none."""
    values = [_value(run, metric) for run in runs if not (run.failure or run.rung) and run.folds == 1]
    return max((value for value in values if not isnan(value)), key=metric.goodness, default=None)


def sort_by(items: Iterable[Item], key: str, value: Callable[[Item], float]) -> list[Item]:
    """Returns items, best first, by one figure; equal ones keep their order, and those without it (NaN) come last.

    Args:
        items: such as runs.
        key: the name of a metric. Any other figure, such as seconds, is better if it is smaller.
        value: returns the figure of an item.
    """
    metric = METRICS.get(key) or Metric(key, lambda _: nan, larger_is_better=False)
    return sorted(items, key=lambda item: -_goodness(value(item), metric))


def simplest(groups: Sequence[Group]) -> Group:
    """Returns the group with the fewest parameters within one standard error of the first.

    Of groups with equally many parameters the one that ranks higher is returned.

    Args:
        groups: best first.

    References:
        Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984, section 3.4.3.
    """
    best = groups[0]
    least = best.goodness - best.standard_error
    near = [group for group in groups if group.goodness >= least and group.complete >= best.complete]
    return min(near, key=lambda group: group.size)


RULES: dict[str, Callable[[Sequence[Group]], Group]] = {"best": lambda groups: groups[0], "one-se": simplest}
"""The rules of selection by name: functions of the groups, best first, that return the group to go on with."""


def in_words(folds: int) -> str:
    """Returns a protocol in words, as "5 folds"; see `RunRecord.folds`."""
    if folds == 1:
        return "the bank's own split"
    return counted(folds, "fold") if folds > 0 else f"the dataset's {counted(-folds, 'fold')}"


def latest_folds(runs: Iterable[RunRecord]) -> int:
    """Returns the number of folds that the latest grid was judged on; 1 is the bank's own split.

    A run on the bank's own split does not tell where its specification was judged on folds, too: after a grid on
    folds the chosen specification is trained once more on the whole training split.
    """
    runs = list(runs)
    on_folds = {run.spec.key for run in runs if run.folds != 1}
    informative = [run for run in runs if run.folds != 1 or not on_folds or run.spec.key not in on_folds]
    return max(informative, key=lambda run: (run.created, abs(run.folds))).folds if informative else 1


def _value(run: RunRecord, metric: Metric) -> float:
    """Returns a validation metric of a run; NaN if it was recorded by a version that did not know the metric."""
    return float(run.metrics["val"].get(metric.name, nan))


def _goodness(value: float, metric: Metric) -> float:
    return -inf if isnan(value) else metric.goodness(value)


def _behind(run: RunRecord, metric: Metric) -> tuple[Any, ...]:
    if run.failure:
        return (1, run.head, run.run)
    return (0, -(run.rung or (0,))[0], -_goodness(_value(run, metric), metric), run.run)


def _mean(values: list[float] | list[int]) -> float:
    return fsum(values) / len(values)
