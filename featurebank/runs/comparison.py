"""The entries of the leaderboard: one for each specification, with confidence intervals and significance tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np

from featurebank.fitting.spec import HeadSpec
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.ranking import Group, Ranking, latest_folds
from featurebank.runs.run import RunRecord
from featurebank.statistics import holm, mcnemar, mean_interval, proportion_interval

OVER_FIT = 0.05
"""A head over-fits if its training accuracy exceeds the upper end of its validation interval by more than this."""
LEVEL = 0.05
"""Significance level: heads with a larger p-value of McNemar's test are indistinguishable."""

Shares = Mapping[tuple[int, int], np.ndarray]
"""For each fold (and repetition): the fraction of a specification's seeds that classify each image correctly, (n,)."""


@dataclass(frozen=True)
class Entry:
    """The results of one specification on one bank under one evaluation protocol."""

    spec: HeadSpec
    runs: tuple[RunRecord, ...]
    """The runs over seeds and folds without failed ones, better ones first."""
    folds: int
    """The number of folds; 1 for the bank's own split."""
    complete: bool
    """Whether it was evaluated on every fold."""
    mean: float
    """Mean validation accuracy over seeds and folds; each image has the same weight."""
    std: float | None
    """Standard deviation of the accuracy between the runs; None for a single run."""
    interval: tuple[float, float]
    """95 % confidence interval of the mean: Wilson's over the images, or Student's over several seeds if wider."""
    standard_error: float
    train: float
    """Training accuracy."""
    verdict: str
    """"fits", "over-fits", "under-fits" or "at chance"."""
    seconds: float
    parameters: float | None
    p_value: float | None = None
    """p-value of McNemar's test against the first entry, with Holm's correction for the number of entries. None for the
    first entry itself, and if the records lack the predictions for single images."""
    indistinguishable: bool = False
    """Whether the difference from the first entry is not significant; True for the first entry."""

    @property
    def key(self) -> tuple[str, str]:
        """The bank and the specification; see `RunRecord.key`."""
        return self.runs[0].key

    @property
    def bank(self) -> str:
        """The name of the bank."""
        return self.runs[0].bank_name

    @property
    def gap(self) -> float:
        """Training accuracy minus validation accuracy."""
        return self.train - self.mean

    def score(self, name: str) -> float:
        """Returns the mean of one validation metric over the runs; NaN if a run does not have it."""
        return float(np.mean([run.metrics["val"].get(name, nan) for run in self.runs]))

    def summary(self) -> dict[str, Any]:
        """Returns the entry as JSON values."""
        return {
            "head": self.spec.kind, "params": dict(self.spec.params), "tap": self.spec.tap, "views": self.spec.views,
            "bank": self.bank,
            **({"name": self.spec.name} if self.spec.name else {}),
            **({"sample": self.spec.sample} if self.spec.sample else {}),
            "runs": [run.run for run in self.runs], "folds": abs(self.folds), "complete": self.complete,
            "accuracy": self.mean, "std": self.std, "accuracy_interval": list(self.interval),
            "train_accuracy": self.train, "gap": self.gap, "verdict": self.verdict, "seconds": self.seconds,
            "parameters": self.parameters, "p_value": self.p_value, "indistinguishable": self.indistinguishable,
        }  # fmt: skip


def entries(runs: Iterable[RunRecord], *, folds: int | None = None, metric: Metric = ACCURACY) -> list[Entry]:
    """Returns an entry for each specification on each bank that one protocol evaluated, best first; see `Group.order`.

    The significance test uses the images by which the first entry was selected: so some differences that it calls
    significant may not be significant on new images.

    Args:
        runs: runs of one bank, or of several that hold the same images.
        folds: the protocol; default: see `latest_folds`.
        metric: what decides the order. Intervals, verdicts and tests are about the accuracy.
    """
    runs = list(runs)
    groups = Ranking(runs, folds=latest_folds(runs) if folds is None else folds, metric=metric).top()
    if not groups:
        return []
    floor = _interval(groups[0])[0]
    results = [_entry(group, floor) for group in groups]
    first = _shares(groups[0])
    raw = [_p_value(first, _shares(group)) for group in groups[1:]]
    tested = [position for position, p in enumerate(raw, 1) if p is not None]
    for position, p in zip(tested, holm([p for p in raw if p is not None]), strict=True):
        results[position] = replace(results[position], p_value=p, indistinguishable=p >= LEVEL)
    return [replace(results[0], indistinguishable=True), *results[1:]]


def _entry(group: Group, floor: float) -> Entry:
    accuracies = [run.metrics["val"]["accuracy"] for run in group.runs]
    mean, interval = group.accuracy, _interval(group)
    train = float(np.mean([run.metrics["train"]["accuracy"] for run in group.runs]))
    return Entry(
        spec=group.spec, runs=tuple(group.runs), folds=group.folds, complete=group.complete, mean=mean,
        std=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None, interval=interval,
        standard_error=group.standard_error, train=train, verdict=_verdict(group, train, interval, floor),
        seconds=group.seconds, parameters=group.parameters,
    )  # fmt: skip


def _verdict(group: Group, train: float, interval: tuple[float, float], floor: float) -> str:
    """Returns a verdict on training and validation accuracy.

    A head under-fits if its training accuracy is below the lower end of the best head's validation interval. It
    over-fits if the gap exceeds `OVER_FIT` even at the upper end of its validation interval: with few validation
    images, such a gap may occur by chance.
    """
    if train < floor:
        return "under-fits"
    if train - interval[1] > OVER_FIT:
        return "over-fits"
    return "at chance" if _is_at_chance(group, interval) else "fits"


def _is_at_chance(group: Group, interval: tuple[float, float]) -> bool:
    """Returns whether a head may be no better than guessing.

    A head that guesses has a mean recall of one over the number of classes, whichever classes it prefers.
    """
    recalls = [value for run in group.runs for value in run.metrics["val"].get("recall") or () if value is not None]
    if not recalls:  # recorded by an earlier version
        return False
    known = len(recalls) / len(group.runs)
    return float(np.mean(recalls)) - (group.accuracy - interval[0]) <= 1 / known


def _interval(group: Group) -> tuple[float, float]:
    if group.images is None:  # recorded by an earlier version
        low, high = group.runs[0].metrics["val"].get("accuracy_interval", (0.0, 1.0))
        return float(low), float(high)
    low, high = proportion_interval(min(group.accuracy, 1.0), group.images)
    if group.folds == 1 and len(group.runs) > 1:
        below, above = mean_interval([run.metrics["val"]["accuracy"] for run in group.runs])
        low, high = max(0.0, min(low, below)), min(1.0, max(high, above))
    return low, high


def _shares(group: Group) -> Shares:
    by_cell: dict[tuple[int, int], list[np.ndarray]] = {}
    for run in group.runs:
        right = run.rights()
        if right is not None:
            by_cell.setdefault((run.fold[0], run.fold[2]) if run.fold else (0, 0), []).append(right)
    return {cell: np.mean(seeds, axis=0) for cell, seeds in by_cell.items()}


def _p_value(first: Shares, other: Shares) -> float | None:
    """Returns McNemar's p-value for two specifications on the images that both classified.

    Each image counts once: with several seeds or repetitions, it counts as correct for only one of the two in the
    fraction of pairs of runs in which that is the case.
    """
    discordant: dict[int, list[tuple[float, float]]] = {}
    for cell in first.keys() & other.keys():
        mine, theirs = first[cell], other[cell]
        if len(mine) == len(theirs):
            counts = float((mine * (1 - theirs)).sum()), float(((1 - mine) * theirs).sum())
            discordant.setdefault(cell[0], []).append(counts)
    if not discordant:
        return None
    ours, others = np.sum([np.mean(counts, axis=0) for counts in discordant.values()], axis=0)
    return mcnemar(float(ours), float(others))
