"""Checks the start of a fine-tune against the head's record, and measures its gain."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.finetuning.task import ValidationResult
from featurebank.fitting.joined.rows import feature_rows
from featurebank.grafting.proof import tolerance_of
from featurebank.metrics import ACCURACY, ImageScores, Metric
from featurebank.metrics.gains import gain_over, metric_gain
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.run import RunRecord
from featurebank.words import counted

_IMAGES = {"float32": 0, "float16": 1, "bfloat16": 1}
"""How many predictions may change through rounding, for each type that features are stored or computed in, in addition
to images whose two most probable classes are closer than the tolerance of a graft."""


def check_start(bank: Bank, run: RunRecord, result: ValidationResult, labels: np.ndarray) -> None:
    """Compares the predictions of a model before its first step with the record of its head's run.

    Args:
        bank: the bank with the features of the head.
        run: the head's run.
        result: the model's result on the validation images.
        labels: (n,) labels of the validation images.

    Raises:
        HeadError: the model classifies other images correctly.
    """
    right = result.probabilities.argmax(axis=1) == labels
    recorded = run.rights()
    if recorded is None:
        different = abs(round((result.accuracy - run.metrics["val"]["accuracy"]) * len(labels)))
    else:
        clear = True
        if not is_finetuned(run):
            top = np.sort(result.probabilities, axis=1)[:, -2:]
            clear = top[:, 1] - top[:, 0] > 2 * tolerance_of(bank, run.tap)
        different = int(((right != recorded) & clear).sum())
    types = (
        {"float32"} if is_finetuned(run) else {feature_rows(bank, run.tap).tap_dtype(run.tap), bank.recipe["precision"]}
    )
    allowed = max(_IMAGES[kind] for kind in types)
    if different > allowed:
        message = (
            f"the grafted model does not reproduce its head: its validation accuracy is {result.accuracy:.4f}, that of "
            f"run {run.run} is {run.metrics['val']['accuracy']:.4f}, and "
            f"{counted(different, 'image is', 'images are')} classified differently (allowed: {allowed}); check the "
            "bank with 'featurebank cache verify --canaries 8'"
        )
        raise HeadError(message)


def gain(
    run: RunRecord, start: ValidationResult, end: ValidationResult, labels: np.ndarray, seconds: float, *,
    groups: np.ndarray | None = None, metric: Metric = ACCURACY,
) -> dict[str, Any]:  # fmt: skip
    """Returns the gain over the head for a run's record, with a sentence on whether it was worth the time.

    Args:
        run: the head's run.
        start: the validation result before the first step.
        end: the validation result with the best weights.
        labels: (n,) labels of the validation images.
        seconds: the duration of the fine-tune.
        groups: (n,) which validation images belong together, if the dataset has groups.
        metric: what decided which epoch is best; the sentence is about it, and of any but the accuracy the gain has the
            values, too.
    """
    before, after = (result.probabilities.argmax(axis=1) == labels for result in (start, end))
    found = gain_over(before, after, groups)
    result: dict[str, Any] = {
        "over": run.run, "accuracy": found.difference, "accuracy_interval": [found.low, found.high],
        "p_value": found.p_value, "loss": start.loss - end.loss,
    }  # fmt: skip
    if metric == ACCURACY:
        change = f"{found.difference * 100:+.1f} points of validation accuracy"
        between = f"{found.low * 100:+.1f} to {found.high * 100:+.1f}"
        return {**result, "worth": _worth(change, between, seconds, same=start is end, surely=found.low > 0)}
    first, last = (ImageScores.of(one.probabilities, labels) for one in (start, end))
    values = metric.of(first), metric.of(last)
    other = metric_gain(metric, first, last, groups)
    ends = None if other is None else [other.low, other.high]
    change = f"validation {metric.name} {values[0]:.4f} -> {values[1]:.4f}"
    surely = None if ends is None else min(map(metric.goodness, ends)) > 0
    between = "" if ends is None else f"of the difference {ends[0]:+.4f} to {ends[1]:+.4f}"
    result["metric"] = {
        "name": metric.name, "before": _finite(values[0]), "after": _finite(values[1]), "interval": ends,
        "p_value": None if other is None else other.p_value,
    }  # fmt: skip
    return {**result, "worth": _worth(change, between, seconds, same=start is end, surely=surely)}


def _worth(change: str, between: str, seconds: float, *, same: bool, surely: bool | None) -> str:
    """Returns whether a fine-tune was worth its time.

    Args:
        change: the change of the metric, in words.
        between: its 95 % interval, in words.
        seconds: the duration of the fine-tune.
        same: whether the model equals the head.
        surely: whether the interval is wholly on the better side; None if there is no interval.
    """
    if same:
        return f"not worth it: in {seconds:.0f} s no epoch was better than the head, so the model equals the head"
    if surely is None:
        return f"not shown to be worth it: {change} for {seconds:.0f} s; there is no interval, so it may be chance"
    change = f"{change} (95 % interval {between})"
    if surely:
        return f"worth it: {change} for {seconds:.0f} s"
    return f"not shown to be worth it: {change} for {seconds:.0f} s; the interval contains 0, so it may be chance"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
