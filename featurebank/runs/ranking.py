"""Ranks runs by their validation results. All code that sorts or compares runs calls this module.

What is ranked is a specification (a head without its seed) on a bank, by the mean over its seeds and folds. Runs of
several banks are ranked together if the banks hold the same images. Specifications are compared only under one
protocol, the way they were validated: on the bank's own split (`folds` is 1), on K folds (`folds` is K) or on the K
folds that the dataset defines (`folds` is -K). The metric is one of `featurebank.metrics.METRICS`, by default accuracy.
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
from featurebank.runs.predictions.draws import GroupImages, defined
from featurebank.runs.run import RunRecord
from featurebank.system.progress import BestSoFar
from featurebank.words import counted

DIGITS = 9
"""The decimals to which losses and similar metrics are compared. Smaller differences are rounding errors, which depend
on the number of threads."""

Item = TypeVar("Item")


@dataclass
class Group:
    """The runs of one specification on one bank under one protocol, without failed runs: the unit that is ranked.

    Means are computed with `math.fsum`, so that they do not depend on the order in which runs were added.
    """

    spec: HeadSpec
    folds: int
    """The protocol; see `RunRecord.folds`."""
    runs: list[RunRecord] = field(default_factory=list)
    """The runs, best first."""
    metric: Metric = ACCURACY
    """The metric by which the group is ranked."""

    def add(self, run: RunRecord) -> None:
        """Adds a run of the specification; an earlier record of the same run is replaced."""
        self.runs = [known for known in self.runs if known.run != run.run]
        insort(self.runs, run, key=self._within)

    def mean(self, metric: Metric) -> float:
        """Returns the mean of a validation metric over seeds and folds; NaN if a run does not have the metric.

        Each fold counts by its number of validation images, one for which the metric is not defined does not count.
        """
        runs = defined(self.runs, metric)
        counts = [run.metrics["val"].get("images", 1) for run in runs]
        total = fsum(_value(run, metric) * count for run, count in zip(runs, counts, strict=True))
        return total / fsum(counts) if runs else nan

    @property
    def key(self) -> tuple[str, str]:
        """The bank and the specification; see `RunRecord.key`."""
        return self.runs[0].key

    @property
    def accuracy(self) -> float:
        """The mean validation accuracy over seeds and folds."""
        return self.mean(ACCURACY)

    @property
    def goodness(self) -> float:
        """The mean of the metric, with its sign changed if smaller is better; minus infinity if a run lacks it."""
        return _goodness(self.mean(self.metric), self.metric)

    @property
    def loss(self) -> float:
        """The mean validation loss."""
        return _mean([run.metrics["val"]["loss"] for run in self.runs])

    @property
    def seconds(self) -> float:
        """The mean training time."""
        return _mean([run.seconds for run in self.runs])

    @property
    def parameters(self) -> float | None:
        """The mean number of trained values; None if it is unknown for all runs."""
        known = [run.parameters for run in self.runs if run.parameters is not None]
        return _mean(known) if known else None

    @property
    def size(self) -> float:
        """`parameters` for comparisons: infinity if it is unknown."""
        return inf if self.parameters is None else self.parameters

    @property
    def images(self) -> int | None:
        """The number of different images that the group was validated on; None if it is unknown for a run."""
        folds = {run.fold[0] if run.fold else 0: run.metrics["val"].get("images") for run in self.runs}
        known = [count for count in folds.values() if count is not None]
        return sum(known) if len(known) == len(folds) else None

    @property
    def complete(self) -> bool:
        """Whether the group was validated on every fold; otherwise it was validated on fewer images than others."""
        return self.folds == 1 or len({run.fold[0] for run in self.runs if run.fold}) == abs(self.folds)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean.

        With several folds, it is computed from the differences between the folds. On the bank's own split, its square
        is the sum of two variances: that of a proportion of the images (for metrics that are one, such as accuracy) or
        of a bootstrap, and that between the seeds (if there are several). It is 0 if neither is known.
        """
        folds: dict[int, list[float]] = {}
        for run in defined(self.runs, self.metric):
            folds.setdefault(run.fold[0] if run.fold else 0, []).append(_value(run, self.metric))
        if len(folds) > 1:
            return float(np.std([np.mean(values) for values in folds.values()], ddof=1)) / sqrt(len(folds))
        share, evidence = self.mean(self.metric), GroupImages(self.runs, self.metric)
        if self.metric.is_share and self.images and not evidence.is_grouped:
            variance = share * (1 - share) / self.images
        else:
            variance = evidence.variance()
        if len(seeds := next(iter(folds.values()), [])) > 1:
            variance += float(np.var(seeds, ddof=1)) / len(seeds)
        return sqrt(max(0.0, variance))

    def order(self) -> tuple[Any, ...]:
        """Returns the sort key of this group among the groups of one protocol; its last element is `key`.

        Groups that were validated on every fold come first. Then the metric decides; proportions of images are rounded
        to whole images. Among equal groups, the one with fewer parameters comes first, then the one with the smaller
        loss, then the one with the smaller key. Time does not count, so that the order is the same on every machine.
        """
        images, goodness = self.images, self.goodness
        if not self.metric.is_share:
            rounded = round(goodness, DIGITS)
        elif images and goodness > -inf:
            rounded = round(goodness * images) / images
        else:
            rounded = round(goodness, 12)
        return (not self.complete, -rounded, self.size, round(self.loss, DIGITS), self.key)

    def _within(self, run: RunRecord) -> tuple[Any, ...]:
        """Returns the sort key of a run within its group."""
        goodness = _goodness(_value(run, self.metric), self.metric)
        return (-goodness, run.metrics["val"]["loss"], run.seed, run.fold or (), run.run)


class Ranking:
    """The specifications under one protocol, best first, which is updated with each new run.

    Adding a run takes O(log n) comparisons for n specifications. Ignored are runs of other protocols, failed runs, and
    runs that `--search halving` stopped early (they have a `rung`).

    Args:
        runs: the first runs.
        folds: the protocol; see `RunRecord.folds`.
        metric: the metric by which specifications are ranked.
    """

    def __init__(self, runs: Iterable[RunRecord] = (), *, folds: int = 1, metric: Metric = ACCURACY) -> None:
        self._folds, self._metric = folds, metric
        self._groups: dict[tuple[str, str], Group] = {}
        self._order: list[tuple[Any, ...]] = []
        for run in runs:
            self.add(run)

    def add(self, run: RunRecord) -> None:
        """Adds a run; an earlier record of the same run is replaced."""
        if run.failure or run.rung or run.folds != self._folds:
            return
        key = run.key
        if key in self._groups:
            del self._order[bisect_left(self._order, self._groups[key].order())]
        group = self._groups.setdefault(key, Group(run.spec, self._folds, metric=self._metric))
        group.add(run)
        insort(self._order, group.order())

    @property
    def first(self) -> RunRecord | None:
        """The best run of the best specification; None if there is no run yet."""
        return self.top(1)[0].runs[0] if self._order else None

    def top(self, count: int | None = None) -> list[Group]:
        """Returns the best specifications, all of them by default."""
        return [self._groups[order[-1]] for order in self._order[:count]]  # the last element is the key

    def rows(self, count: int = 5) -> list[BestSoFar]:
        """Returns the best specifications as `Reporter.ranking` shows them."""
        return [BestSoFar(str(group.spec), group.accuracy, group.seconds) for group in self.top(count)]


def ranked(runs: Iterable[RunRecord], *, folds: int | None = None, metric: Metric = ACCURACY) -> list[RunRecord]:
    """Returns the runs sorted by their validation results, best first.

    Specifications are ranked by the mean over seeds and folds, so that a lucky seed does not win (ties: see
    `Group.order`), and the runs of a specification by their own results. Runs under other protocols than `folds` come
    after these, then runs that `--search halving` stopped early, then failed runs.

    Args:
        runs: runs of one bank, or of several that hold the same images.
        folds: the protocol whose runs come first; default: that of the latest grid, see `latest_folds`.
        metric: the metric by which specifications are ranked.
    """
    runs = list(runs)
    first = latest_folds(runs) if folds is None else folds
    others = sorted({run.folds for run in runs} - {first}, reverse=True)
    rankings = [Ranking(runs, folds=number, metric=metric) for number in (first, *others)]
    best_first = [run for ranking in rankings for group in ranking.top() for run in group.runs]
    unranked = [run for run in runs if run.failure or run.rung]
    return best_first + sorted(unranked, key=lambda run: _unranked_order(run, metric))


def best_of(items: Iterable[Item], run_of: Callable[[Item], RunRecord], *, metric: Metric = ACCURACY) -> Item:
    """Returns the item whose run is best; the runs may belong to different banks."""
    return min(items, key=lambda item: Group(run_of(item).spec, 1, [run_of(item)], metric).order())


def best_value(runs: Iterable[RunRecord], *, metric: Metric = ACCURACY) -> float | None:
    """Returns the best value of the metric of any single run on the bank's own split; None without such a run."""
    values = [_value(run, metric) for run in runs if not (run.failure or run.rung) and run.folds == 1]
    return max((value for value in values if not isnan(value)), key=metric.goodness, default=None)


def sort_by(items: Iterable[Item], key: str, value: Callable[[Item], float]) -> list[Item]:
    """Returns items sorted by one value, best first; the sort is stable, and items with NaN come last.

    Args:
        items: the items, such as runs.
        key: the name of the value. Of a metric, the better value comes first; of anything else, the smaller value.
        value: returns the value of an item.
    """
    metric = METRICS.get(key) or Metric(key, lambda _: nan, larger_is_better=False)
    return sorted(items, key=lambda item: -_goodness(value(item), metric))


def simplest(groups: Sequence[Group]) -> Group:
    """Returns the group with the fewest parameters whose mean is within one standard error of the best.

    If several groups have equally few parameters, the best of them is returned.

    Args:
        groups: the groups, best first.

    References:
        Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984, section 3.4.3.
    """
    best = groups[0]
    least = best.goodness - best.standard_error
    near = [group for group in groups if group.goodness >= least and group.complete >= best.complete]
    return min(near, key=lambda group: group.size)


RULES: dict[str, Callable[[Sequence[Group]], Group]] = {"best": lambda groups: groups[0], "one-se": simplest}
"""The selection rules by name. A rule takes the groups, best first, and returns the selected one."""


def in_words(folds: int) -> str:
    """Returns a protocol in words, such as "5 folds"."""
    if folds == 1:
        return "the bank's own split"
    return counted(folds, "fold") if folds > 0 else f"the dataset's {counted(-folds, 'fold')}"


def latest_folds(runs: Iterable[RunRecord]) -> int:
    """Returns the protocol of the latest grid; 1, the bank's own split, if there are no runs.

    After a grid on folds, the selected specification is trained once more on the bank's own split. So a run on that
    split counts only if its specification was not validated on folds.
    """
    runs = list(runs)
    on_folds = {run.key for run in runs if run.folds != 1}
    of_grids = [run for run in runs if run.folds != 1 or run.key not in on_folds]
    return max(of_grids, key=lambda run: (run.created, abs(run.folds))).folds if of_grids else 1


def _value(run: RunRecord, metric: Metric) -> float:
    """Returns a validation metric of a run; NaN if its record does not have it, see `runs.predictions.scoring`."""
    return metric.recorded(run.metrics["val"])


def _goodness(value: float, metric: Metric) -> float:
    return -inf if isnan(value) else metric.goodness(value)


def _unranked_order(run: RunRecord, metric: Metric) -> tuple[Any, ...]:
    """Returns the sort key of a run that is not ranked: first runs stopped early (the longest first), then failures."""
    if run.failure:
        return (1, run.head, run.run)
    return (0, -(run.rung or (0,))[0], -_goodness(_value(run, metric), metric), run.run)


def _mean(values: list[float] | list[int]) -> float:
    return fsum(values) / len(values)
