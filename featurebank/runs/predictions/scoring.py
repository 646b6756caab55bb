"""Any metric of any run: from its record, from its stored predictions, or from its head, trained again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isnan
from typing import Any, TypeVar

from featurebank.bank import Bank
from featurebank.errors import DiskFullError, FeatureBankError, HeadError, HeadWarning
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.metrics import ACCURACY, ImageScores, Metric
from featurebank.runs.predictions.draws import defined
from featurebank.runs.predictions.silent import without_silent
from featurebank.runs.predictions.stored import load_predictions, may_store, predictions_path, save_predictions
from featurebank.runs.probabilities import load_fitted, positions_of, predictor
from featurebank.runs.refitting import check_refit, check_same, images_of, specification
from featurebank.runs.run import RunRecord
from featurebank.system.backing.directories import is_file
from featurebank.system.progress import SILENT, Advance, Reporter
from featurebank.words import counted, duration

_Run = TypeVar("_Run", bound=RunRecord)


def recorded(run: _Run, metric: Metric) -> _Run:
    """Returns a run with a metric among its validation metrics, if its record or its stored predictions have it."""
    if run.failure or not isnan(metric.recorded(run.metrics["val"])):
        return run
    images = load_predictions(run)
    return run if images is None else with_value(run, metric, images)


def with_value(run: _Run, metric: Metric, images: ImageScores) -> _Run:
    """Returns a run with a metric of its validation images among its metrics: None where it is not defined for them.

    Nothing changes if the metric needs more than what is known of the images.
    """
    if not metric.can_score(images):
        return run
    value = metric.of(images)
    known = None if isnan(value) else value
    return replace(run, metrics={**run.metrics, "val": {**run.metrics["val"], metric.key: known}})


def scored(runs: Iterable[_Run], metric: Metric, reporter: Reporter = SILENT) -> list[_Run]:
    """Returns runs, in their order, with a metric among the validation metrics of each.

    Heads that say only a class are left out if the metric needs probabilities; see `without_silent`. A head of which
    neither the record nor stored predictions have the metric is trained again, and its predictions are stored. A run
    for which this fails stays without the metric, and ranks last.

    Args:
        runs: runs of one bank or several.
        metric: the metric.
        reporter: receives a line and the progress if heads are trained again, and a warning for those that cannot be.

    Raises:
        HeadError: the metric needs probabilities, and all heads say only a class.
    """
    found = [recorded(run, metric) for run in without_silent(list(runs), metric, reporter)]
    again = _Again(metric, reporter)
    missing = [place for place, run in enumerate(found) if _lacks(run, metric)]
    if missing:
        seconds = sum(found[place].seconds for place in missing)
        reporter.say(
            f"{counted(len(missing), 'run')} without stored predictions: scored again by '{metric.name}'; the training "
            f"took {duration(seconds)}"
        )
        with reporter.track("scoring", len(missing), "runs") as advance:
            for run in again.score([found[place] for place in missing], advance):
                place = next(place for place in missing if found[place].run == run.run and found[place].key == run.key)
                found[place] = run
    again.note_undefined(found)
    again.warn()
    return found


def complete_predictions(runs: Iterable[RunRecord], metric: Metric, reporter: Reporter = SILENT) -> None:
    """Stores the predictions of runs whose records have a metric, but no predictions for its interval and its test.

    That is cheap for heads whose weights are saved. For the others, one line says why there may be neither.

    Args:
        runs: the result of `scored`.
        metric: the metric.
        reporter: receives the progress and the line.
    """
    if metric == ACCURACY or metric.interval is None:
        return
    ranked = [run for run in runs if not (run.failure or run.rung or _lacks(run, metric))]
    without = [run for run in ranked if not is_file(predictions_path(run))]
    cheap = [run for run in without if run.weights and not run.is_finetune and is_file(run.saved_path)]
    cheap = [run for run in cheap if may_store(run.metrics["val"].get("images", 0), run.metrics["val"].get("recall"))]
    with reporter.track("predictions", len(cheap), "runs") if cheap else contextlib.nullcontext() as advance:
        for run in cheap:
            with contextlib.suppress(FeatureBankError, PermissionError):
                bank = Bank(run.directory)
                fitted = load_fitted(bank, run, reporter=reporter)
                save_predictions(run, images_again(bank, run, fitted, reporter))
            if advance:
                advance(1)
    if left := [run for run in without if not is_file(predictions_path(run))]:
        reporter.say(
            f"{counted(len(left), 'run')} of this ranking by '{metric.name}' {'has' if len(left) == 1 else 'have'} no "
            "stored predictions, because an earlier version trained them or they are too large: an interval or a test "
            "that needs predictions is missing (-); in Python, run.refit() makes it possible"
        )


def images_again(bank: Bank, run: RunRecord, fitted: Any, reporter: Reporter) -> ImageScores:
    """Returns the validation images as what answers for a run predicts them."""
    probabilities = predictor(bank, run, "val", fitted, reporter=reporter)()
    return ImageScores.of(probabilities, bank.labels()[positions_of(bank, run, "val")])


def _lacks(run: RunRecord, metric: Metric) -> bool:
    scores = run.metrics.get("val", {})
    return not run.failure and isnan(metric.recorded(scores)) and not metric.is_undefined(scores)


class _Again:
    """Scores runs by their heads, most of which are trained again: those on the same images together."""

    def __init__(self, metric: Metric, reporter: Reporter) -> None:
        self._metric, self._reporter = metric, reporter
        self._failures: list[str] = []
        self._results: list[Any] = []

    def score(self, runs: Sequence[_Run], advance: Advance) -> Iterable[_Run]:
        """Yields each run as soon as it has its value."""
        banks = {run.directory: Bank(run.directory) for run in runs}
        alone = [run for run in runs if run.is_finetune or run.weights]
        for run in alone:
            yield from self._alone(banks[run.directory], run)
            advance(1)
        cells: dict[Any, list[_Run]] = {}
        for run in runs:
            if run not in alone:
                cells.setdefault((run.directory, run.tap, run.views, run.fold, run.sample), []).append(run)
        for members in cells.values():
            yield from self._together(banks[members[0].directory], members)
            advance(len(members))

    def warn(self) -> None:
        """Warns of the runs that could not be scored."""
        if self._failures:
            self._reporter.warn(
                f"{counted(len(self._failures), 'run')} cannot be scored by '{self._metric.name}', so they come last; "
                f"the first: {self._failures[0]}",
                HeadWarning,
            )

    def _alone(self, bank: Bank, run: _Run) -> Iterable[_Run]:
        """Scores a run whose weights or model are saved."""
        try:
            fitted = load_fitted(bank, run, reporter=self._reporter)
            yield self._keep(run, images_again(bank, run, fitted, self._reporter))
        except FeatureBankError as error:
            self._failures.append(f"run {run.run}: {error}")

    def _together(self, bank: Bank, runs: Sequence[_Run]) -> Iterable[_Run]:
        """Trains the heads of runs on the same images again, and scores them."""
        allowed = []
        for run in runs:
            try:
                check_refit(bank, run)
                allowed.append(run)
            except HeadError as error:
                self._failures.append(str(error))
        if not allowed:
            return
        results: list[tuple[int, Fitted]] = []
        try:
            data = images_of(bank, allowed[0])
            specs = [(specification(run), run.seed) for run in allowed]
            fit_heads(specs, data, lambda place, fitted: results.append((place, fitted)))
        except FeatureBankError as error:
            self._failures += [f"run {run.run}: {error}" for run in allowed]
            return
        for place, fitted in results:
            run = allowed[place]
            try:
                check_same(run, fitted)
                yield self._keep(run, fitted.images or images_again(bank, run, fitted.head, self._reporter))
            except FeatureBankError as error:
                self._failures.append(str(error))

    def _keep(self, run: _Run, images: ImageScores) -> _Run:
        """Returns a run with its value, after it stored the predictions and the value as far as the disk allows."""
        result = with_value(run, self._metric, images)
        with contextlib.suppress(PermissionError, DiskFullError):  # read-only or full: the value is used this time
            save_predictions(run, images)
            if load_predictions(run) is None:
                result.save()
        return result

    def note_undefined(self, runs: Iterable[RunRecord]) -> None:
        """Notes specifications without any image for which the metric is defined, and counts the folds of others."""
        by_group: dict[Any, list[RunRecord]] = {}
        for run in runs:
            if not run.failure:
                by_group.setdefault((run.key, run.folds), []).append(run)
        some = 0
        for members in by_group.values():
            known = defined(members, self._metric)
            if known:
                some += len(members) - len(known)
                continue
            self._failures += [f"run {run.run}: '{self._metric.name}' is not defined for its images" for run in members]
        if some:
            self._reporter.say(
                f"'{self._metric.name}' is not defined for the folds of {counted(some, 'run')}, which do not count"
            )
