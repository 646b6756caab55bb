"""What the sections of a bank's report are made from; each part is read or computed at most once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import vector_tap
from featurebank.errors import DatasetError, FeatureBankError, HeadError
from featurebank.metrics import ACCURACY, Metric
from featurebank.reporting.pictures import Gallery
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.costs.table import CostTable
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.predictions.scoring import complete_predictions, scored
from featurebank.runs.probabilities import load_fitted, positions_of, predictor
from featurebank.runs.ranking import latest_folds
from featurebank.runs.refitting import refitted_head
from featurebank.runs.run import RunRecord, load_runs
from featurebank.runs.selection import choose_run
from featurebank.system import digest
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, one_line

FORMAT = 3
"""Raise it if the same banks and runs give another report, so that pipelines write theirs again."""
CHEAP_S = 3.0
"""Heads on folds are trained again for the report if that takes at most this time."""


@dataclass(frozen=True)
class Answers:
    """The predictions of a run for validation images."""

    positions: np.ndarray
    """(n,) positions in `Bank.ids()`."""
    labels: np.ndarray
    """(n,) int32."""
    probabilities: np.ndarray
    """(n, classes) float64."""
    images: str = "validation images"
    """What the images are, in words."""

    @cached_property
    def predicted(self) -> np.ndarray:
        """(n,) int64, the most probable class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """(n,) float64, the probability of the predicted class."""
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> np.ndarray:
        """(n,) bool, whether the prediction is the label."""
        return np.asarray(self.predicted == self.labels)


class Evidence:
    """A bank with its runs, the chosen one among them, and the pictures that its sections show.

    Args:
        bank: the bank.
        reporter: receives the progress of everything that is read.
        metric: what ranks the heads.

    Raises:
        HeadError: the bank has no run of its current state.
        DatasetError: it has none, and cannot have one on its own split, because it has no validation image.
    """

    def __init__(self, bank: Bank, reporter: Reporter = SILENT, metric: Metric = ACCURACY) -> None:
        self.bank, self.reporter, self.metric = bank, reporter, metric
        self.runs = scored(current_runs(bank), metric, reporter)
        complete_predictions(self.runs, metric, reporter)
        self.folds = latest_folds(self.runs)
        """The evaluation protocol of the leaderboard; see `RunRecord.folds`."""
        self.failed = [run for run in self.runs if run.failure]
        self.gallery = Gallery(bank)

    @cached_property
    def entries(self) -> list[Entry]:
        """The heads of the leaderboard, best first."""
        return entries(self.runs, folds=self.folds, metric=self.metric)

    @cached_property
    def winner(self) -> RunRecord | None:
        """The run that `select` chooses; None if no run can be chosen."""
        try:
            return choose_run(self.runs, folds=self.folds, metric=self.metric)
        except HeadError:
            return None

    @property
    def best(self) -> Entry | None:
        """The entry of the winner; None if no run can be chosen."""
        return self.entries[0] if self.entries else None

    @cached_property
    def tap(self) -> str | None:
        """The tap of vectors that maps and doubts use: the winner's if it is one; None if all taps are maps."""
        own = self.winner.tap if self.winner is not None else ""
        return own if own in self.bank.taps and len(self.bank.tap_shape(own)) == 1 else vector_tap(self.bank)

    @cached_property
    def answers(self) -> Answers | str:
        """The winner's predictions for validation images, or one line that says why there are none."""
        if self.winner is None:
            return "no run can be chosen, so there are no predictions"
        try:
            return _answers(self, self.winner)
        except FeatureBankError as error:
            return f"the predictions of run {self.winner.run} are not available: {one_line(error)}"


def current_runs(bank: Bank) -> list[RunRecord]:
    """Returns the runs of a bank as it is now.

    Raises:
        HeadError: there are none.
        DatasetError: there are none, and the bank has no validation image; or the bank has no classes.
    """
    if not bank.classes:
        message = f"bank '{bank.name}' holds images without labels, so there is nothing to report on: choose another"
        raise DatasetError(message)
    runs = load_runs(bank)
    if runs:
        return runs
    train = f"'featurebank heads --bank {bank.name} --grid'"
    if stale := len(load_runs(bank, stale=True)):
        message = (
            f"bank '{bank.name}' has {counted(stale, 'run')}, but of another state of it: its images, labels or splits "
            f"have changed since; train heads again with {train}"
        )
        raise HeadError(message)
    if not len(bank.labels("val")):
        message = (
            f"bank '{bank.name}' has no validation image, so that no head can be compared: extract again with another "
            "--split, such as --split .7,.15,.15, then train heads"
        )
        raise DatasetError(message)
    message = f"bank '{bank.name}' has no runs to report on: train some with {train}"
    raise HeadError(message)


def _answers(evidence: Evidence, run: RunRecord) -> Answers:
    bank, reporter = evidence.bank, evidence.reporter
    if run.fold:
        return _out_of_fold(bank, run, evidence.runs, reporter)
    positions = positions_of(bank, run, "val")
    what = "fine-tuned network" if is_finetuned(run) else "chosen head"
    with reporter.step(f"predicting {counted(len(positions), 'validation image')} with the {what}"):
        fitted = load_fitted(bank, run, reporter=reporter)
        probabilities = predictor(bank, run, "val", fitted, reporter=reporter)()
    images = "validation images of the bank's own split, whose training images the head was trained on once more"
    return Answers(
        positions, bank.labels()[positions], probabilities, images if evidence.folds != 1 else "validation images"
    )


def _out_of_fold(bank: Bank, run: RunRecord, runs: list[RunRecord], reporter: Reporter) -> Answers:
    """Returns the predictions for all images, each by the head that was not trained on its fold.

    Raises:
        HeadError: training these heads again takes too long.
    """
    assert run.fold is not None
    division = run.fold[1:]
    same = [other for other in runs if other.fold and other.fold[1:] == division and not other.failure]
    parts = [other for other in same if other.spec.key == run.spec.key and other.seed == run.seed and not other.rung]
    seconds = sum(part.seconds for part in parts)
    if run.spec.head_kind.is_neural or seconds > CHEAP_S:
        message = (
            f"it was validated on folds, whose heads were not kept; train {run.spec} on the bank's own split, as "
            "'featurebank heads' does with the best head of a grid on folds"
        )
        raise HeadError(message)
    with reporter.step(f"training the heads of {counted(len(parts), 'fold')} again"):
        fitted = [(part, refitted_head(bank, part)) for part in parts]
        positions = [positions_of(bank, part, "val") for part, _ in fitted]
        probabilities = [predictor(bank, part, "val", head)() for part, head in fitted]
    places = np.concatenate(positions)
    images = f"images in {counted(len(parts), 'fold')}, each predicted by the head that was not trained on it"
    return Answers(places, bank.labels()[places], np.concatenate(probabilities), images)


def heads_of(runs: list[RunRecord]) -> int:
    """Returns the number of different heads among runs, whatever their seeds and folds."""
    return len({(run.head, run.spec.key) for run in runs})


def key_of(banks: Sequence[Evidence]) -> str:
    """Returns the digest of everything that a report is made from: banks, their histories, runs and their tests."""
    costs = _cost_key(banks) if len(banks) > 1 else []
    return digest.of_recipe([FORMAT, version("featurebank"), [_bank_key(one) for one in banks], *costs])


def _cost_key(banks: Sequence[Evidence]) -> list[object]:
    """Returns the costs of all runs: a measurement of images a second is in no bank."""
    runs = [run for one in banks for run in one.runs]
    table = CostTable(runs)
    return [[run.run, table.of(run).summary()] for run in runs]


def _bank_key(evidence: Evidence) -> list[object]:
    bank = evidence.bank
    runs = [[run.run, run.created, run.tested, run.weights, run.failure] for run in evidence.runs]
    by = [] if evidence.metric == ACCURACY else [evidence.metric.key]
    return [*by, bank.name, bank.digest, bank.manifest.items, list(map(dict, bank.manifest.history)), runs]
