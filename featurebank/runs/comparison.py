"""The entries of the leaderboard: one for each specification, with confidence intervals and significance tests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isnan, nan
from typing import Any

import numpy as np

from featurebank.fitting.spec import HeadSpec
from featurebank.metrics import ACCURACY, Metric
from featurebank.metrics.significance import percentile_interval
from featurebank.runs.predictions.draws import GroupImages, ImageGroups, defined, p_value
from featurebank.runs.ranking import Group, Ranking, latest_folds
from featurebank.runs.run import RunRecord
from featurebank.statistics import holm, mean_interval, proportion_interval

OVER_FIT = 0.05
"""A head over-fits if its training accuracy exceeds the upper end of its validation interval by more than this."""
LEVEL = 0.05
"""Significance level: heads with a larger p-value of McNemar's test are indistinguishable."""


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
    """p-value of the paired test of the metric against the first entry, with Holm's correction for the number of
    entries: McNemar's test for shares of images, else a bootstrap. None for the first entry itself, and if the
    predictions for single images are not stored."""
    indistinguishable: bool = False
    """Whether the difference from the first entry is not significant; True for the first entry."""
    metric: Metric = ACCURACY
    """The metric that ranks the entries."""
    value: float = nan
    """Mean of the metric over seeds and folds."""
    value_std: float | None = None
    """Standard deviation of the metric between the runs; None for a single run."""
    value_interval: tuple[float, float] | None = None
    """95 % confidence interval of `value`; None if the metric has none, or predictions are not stored."""
    test: str = "McNemar's test"
    """The name of the paired test of `p_value`."""
    groups: int | None = None
    """The number of groups of validation images, which the intervals and the tests count; None without groups."""

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
        values = [run.metrics["val"].get(name, nan) for run in self.runs]
        return float(np.mean([nan if value is None else value for value in values]))

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
            **({} if self.groups is None else {"groups": self.groups}),
            "metric": self.metric.name, "value": None if isnan(self.value) else self.value,
            "value_std": self.value_std,
            "value_interval": None if self.value_interval is None else list(self.value_interval),
        }  # fmt: skip


def entries(runs: Iterable[RunRecord], *, folds: int | None = None, metric: Metric = ACCURACY) -> list[Entry]:
    """Returns an entry for each specification on each bank that one protocol evaluated, best first; see `Group.order`.

    The significance test uses the images by which the first entry was selected: so some differences that it calls
    significant may not be significant on new images.

    Args:
        runs: runs of one bank, or of several that hold the same images.
        folds: the protocol; default: see `latest_folds`.
        metric: what decides the order, and what `value`, its interval and the tests are about. Verdicts are about the
            accuracy. Runs must have it among their metrics; see `featurebank.runs.predictions.scoring.scored`.
    """
    runs = list(runs)
    groups = Ranking(runs, folds=latest_folds(runs) if folds is None else folds, metric=metric).top()
    if not groups:
        return []
    images = ImageGroups()
    floor = _interval(groups[0], images)[0]
    evidence = [GroupImages(group.runs, metric, images) for group in groups]
    results = [_entry(group, floor, each) for group, each in zip(groups, evidence, strict=True)]
    first, best = evidence[0], results[0].value
    raw = [p_value(first, each, best - entry.value) for each, entry in zip(evidence[1:], results[1:], strict=True)]
    tested = [position for position, p in enumerate(raw, 1) if p is not None]
    for position, p in zip(tested, holm([p for p in raw if p is not None]), strict=True):
        results[position] = replace(results[position], p_value=p, indistinguishable=p >= LEVEL)
    return [replace(results[0], indistinguishable=True), *results[1:]]


def _entry(group: Group, floor: float, evidence: GroupImages) -> Entry:
    mean, interval, metric = group.accuracy, _interval(group, evidence.groups), evidence.metric
    is_accuracy = metric.key == ACCURACY.key
    train = float(np.mean([run.metrics["train"]["accuracy"] for run in group.runs]))
    return Entry(
        spec=group.spec, runs=tuple(group.runs), folds=group.folds, complete=group.complete, mean=mean,
        std=spread(group, ACCURACY), interval=interval,
        standard_error=group.standard_error, train=train, verdict=_verdict(group, train, interval, floor),
        seconds=group.seconds, parameters=group.parameters, metric=metric, value=group.mean(metric),
        value_std=spread(group, metric), value_interval=interval if is_accuracy else metric_interval(group, evidence),
        test=evidence.test, groups=evidence.units if evidence.is_grouped else None,
    )  # fmt: skip


def spread(group: Group, metric: Metric) -> float | None:
    """Returns the standard deviation of a metric between the runs that have it; None for fewer than two."""
    values = [metric.recorded(run.metrics["val"]) for run in defined(group.runs, metric)]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


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


def _interval(group: Group, images: ImageGroups) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the accuracy."""
    if group.images is None:  # recorded by an earlier version
        low, high = group.runs[0].metrics["val"].get("accuracy_interval", (0.0, 1.0))
        return float(low), float(high)
    evidence = GroupImages(group.runs, ACCURACY, images)
    if (found := metric_interval(group, evidence)) is not None:
        return found
    return (0.0, 1.0) if evidence.is_grouped else proportion_interval(min(group.accuracy, 1.0), group.images)


def metric_interval(group: Group, evidence: GroupImages) -> tuple[float, float] | None:
    """Returns the 95 % confidence interval of the mean of a metric over the seeds and folds of a group.

    It is Wilson's for shares of independent images, that of `GroupEffects` for groups, else that of a bootstrap; or
    Student's over several seeds if wider.

    Args:
        group: the runs.
        evidence: their images, and the metric.
    """
    metric, mean = evidence.metric, group.mean(evidence.metric)
    if metric.interval is None or isnan(mean):
        return None
    interval = _image_interval(group, evidence, mean)
    if interval is not None and group.folds == 1 and len(group.runs) > 1:
        below, above = mean_interval([metric.recorded(run.metrics["val"]) for run in group.runs])
        interval = min(interval[0], below), max(interval[1], above)
    if interval is not None and metric.interval == "wilson":
        interval = max(0.0, interval[0]), min(1.0, interval[1])
    return interval


def _image_interval(group: Group, evidence: GroupImages, mean: float) -> tuple[float, float] | None:
    """Returns the interval that the choice of the images alone explains."""
    is_share = evidence.metric.interval == "wilson"
    if evidence.is_grouped:
        if evidence.effects is None:
            return None
        return evidence.effects.share_interval(mean) if is_share else evidence.effects.interval(evidence.metric.scale)
    if is_share:
        count = (group.images or 0) if evidence.metric.is_share else evidence.counted()
        return proportion_interval(min(mean, 1.0), count) if count else None
    return None if evidence.draws is None else percentile_interval(evidence.draws)
