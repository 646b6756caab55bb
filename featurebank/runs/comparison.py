"""The leaderboard's lines: one for each specification, with how far its accuracy may be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Any

import numpy as np

from featurebank.fitting.spec import HeadSpec
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.ranking import Group, Ranking, latest_folds
from featurebank.runs.run import Run
from featurebank.statistics import holm, mcnemar, mean_interval, proportion_interval

OVER_FIT = 0.05
"""A head over-fits if its training accuracy is so far above the upper end of its validation accuracy's interval."""
LEVEL = 0.05
"""Heads that McNemar's test does not tell apart at this level are indistinguishable."""

Shares = Mapping[tuple[int, int], np.ndarray]
"""For each fold (and repetition) the share of a specification's seeds that get each image right, (n,)."""


@dataclass(frozen=True)
class Entry:
    """What the runs of one specification say under one protocol."""

    spec: HeadSpec
    runs: tuple[Run, ...]
    """Over seeds and folds, the better first; failed ones left out."""
    folds: int
    """1 is the bank's own split."""
    complete: bool
    """Whether it was judged on every fold."""
    mean: float
    """Validation accuracy over seeds and folds; each image counts alike."""
    std: float | None
    """Between the runs; None of a single one."""
    interval: tuple[float, float]
    """95 %, of the mean: Wilson's over the images; over several seeds Student's, where that is wider."""
    standard_error: float
    train: float
    """Training accuracy."""
    verdict: str
    """"fits", "over-fits", "under-fits" or "at chance"."""
    seconds: float
    parameters: float | None
    p_value: float | None = None
    """That it is as good as the first entry, by McNemar's test, corrected by Holm for the number of entries. None of
    the first itself, and where the records do not tell which images are right."""
    indistinguishable: bool = False
    """From the first entry, which is so from itself."""

    @property
    def gap(self) -> float:
        """By how much training accuracy is above validation accuracy."""
        return self.train - self.mean

    def score(self, name: str) -> float:
        """Returns the mean of one validation metric over the runs; NaN if a run does not have it."""
        return float(np.mean([run.metrics["val"].get(name, nan) for run in self.runs]))

    def summary(self) -> dict[str, Any]:
        """Returns the entry as JSON values."""
        return {
            "head": self.spec.kind, "params": dict(self.spec.params), "tap": self.spec.tap, "views": self.spec.views,
            **({"name": self.spec.name} if self.spec.name else {}),
            "runs": [run.run for run in self.runs], "folds": abs(self.folds), "complete": self.complete,
            "accuracy": self.mean, "std": self.std, "accuracy_interval": list(self.interval),
            "train_accuracy": self.train, "gap": self.gap, "verdict": self.verdict, "seconds": self.seconds,
            "parameters": self.parameters, "p_value": self.p_value, "indistinguishable": self.indistinguishable,
        }  # fmt: skip


def entries(runs: Iterable[Run], *, folds: int | None = None, metric: Metric = ACCURACY) -> list[Entry]:
    """Returns the specifications that were judged by one protocol, best first; see `Group.order`.

    The test is made after the first was chosen for being first, on the images it was chosen by: it may call some
    distinguishable that on new images would not be.

    Args:
        runs: of one bank.
        folds: the protocol; default: see `latest_folds`.
        metric: what decides the order. Intervals, verdicts and tests are about the accuracy.
    """
    runs = list(runs)
    groups = Ranking(runs, folds=latest_folds(runs) if folds is None else folds, metric=metric).top()
    if not groups:
        return []
    floor = _interval(groups[0])[0]
    found = [_entry(group, floor) for group in groups]
    first = _shares(groups[0])
    raw = [_p_value(first, _shares(group)) for group in groups[1:]]
    told = [position for position, p in enumerate(raw, 1) if p is not None]
    for position, p in zip(told, holm([p for p in raw if p is not None]), strict=True):
        found[position] = replace(found[position], p_value=p, indistinguishable=p >= LEVEL)
    return [replace(found[0], indistinguishable=True), *found[1:]]


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
    """Returns how training and validation accuracy go together.

    A head under-fits if on its own training images it does not reach what the best head surely reaches on validation
    images. It over-fits if the gap between the two is more than `OVER_FIT` for certain: few validation images make a
    gap of that size by chance.
    """
    if train < floor:
        return "under-fits"
    if train - interval[1] > OVER_FIT:
        return "over-fits"
    return "at chance" if _is_at_chance(group, interval) else "fits"


def _is_at_chance(group: Group, interval: tuple[float, float]) -> bool:
    """Returns whether a head may do no better than one that has not seen the images.

    Such a head, whichever class it prefers, has a mean recall of one over the number of classes.
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
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for run in group.runs:
        right = run.rights()
        if right is not None:
            found.setdefault((run.fold[0], run.fold[2]) if run.fold else (0, 0), []).append(right)
    return {cell: np.mean(seeds, axis=0) for cell, seeds in found.items()}


def _p_value(first: Shares, other: Shares) -> float | None:
    """Compares two specifications on the images that both were judged on.

    Each image counts once: where several seeds or repetitions judged it, it is right for one alone in the share of
    their pairs in which that is so.
    """
    alone: dict[int, list[tuple[float, float]]] = {}
    for cell in first.keys() & other.keys():
        mine, theirs = first[cell], other[cell]
        if len(mine) == len(theirs):
            counts = float((mine * (1 - theirs)).sum()), float(((1 - mine) * theirs).sum())
            alone.setdefault(cell[0], []).append(counts)
    if not alone:
        return None
    ours, others = np.sum([np.mean(counts, axis=0) for counts in alone.values()], axis=0)
    return mcnemar(float(ours), float(others))
