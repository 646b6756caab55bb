"""How much better one run is than another on the validation images of both."""

from __future__ import annotations

from collections.abc import Callable

from featurebank.bank import Bank
from featurebank.errors import ConfigError, HeadError
from featurebank.metrics import ImageScores, Metric
from featurebank.metrics.gains import PairedGain, metric_gain
from featurebank.runs.predictions.draws import ImageGroups, images_of_run
from featurebank.runs.run import RunRecord, belongs
from featurebank.runs.several import check_runs

Predict = Callable[[RunRecord], ImageScores]
"""Returns the predictions of a run for its validation images."""


def run_gain(run: RunRecord, other: RunRecord, metric: Metric, predict: Predict) -> PairedGain | None:
    """Returns the gain of a run over another one; see `featurebank.Run.gain_over`.

    Args:
        run: the run.
        other: the other one.
        metric: the metric of the gain.
        predict: is called for a run without stored predictions.
    """
    _check_comparable(run, other)
    after, before = (images_of_run(one, metric) or predict(one) for one in (run, other))
    return metric_gain(metric, before, after, ImageGroups().of(run))


def _check_comparable(run: RunRecord, other: RunRecord) -> None:
    """Raises an error unless both runs were validated on the same images."""
    for one in (run, other):
        if one.failure:
            message = f"run {one.run} has no result to compare, because it failed: {one.failure}"
            raise HeadError(message)
        if not belongs(one, Bank(one.directory)):
            message = f"run {one.run} belongs to an older state of '{one.bank_name}': train {one.spec} again"
            raise HeadError(message)
    check_runs([run, other])
    if run.fold != other.fold:
        message = (
            f"runs {run.run} and {other.run} were validated on different images ({_validation(run)}; "
            f"{_validation(other)}): expected two runs on the bank's own split, or on the same fold"
        )
        raise ConfigError(message)


def _validation(run: RunRecord) -> str:
    return "the bank's own split" if run.fold is None else f"fold {run.fold[0] + 1} of {run.fold[1]}"
