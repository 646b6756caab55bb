"""The fitted head of a run: its saved weights, or the same training once more."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.fitting.data import TrainingData
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.folds import Fold
from featurebank.fitting.joined.training import training_data
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.storage.saving import load_head, save_head
from featurebank.runs.finetuned import is_finetuned
from featurebank.runs.run import RunRecord, belongs
from featurebank.system import digest
from featurebank.system.backing.directories import is_file
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import duration

_TOLERANCE = 0.01
"""Maximum difference of the validation accuracy after refitting: one point is more than another number of threads can
explain."""


def trained_head(bank: Bank, run: RunRecord, *, reporter: Reporter = SILENT) -> Any:
    """Returns the head of a run: its saved weights, or else the same specification trained again with the same seed.

    Args:
        bank: the bank that the run was trained on.
        run: the run.
        reporter: receives a line if the head is trained again, with the duration of its first training.

    Raises:
        HeadError: the run failed, was trained on a fold, or belongs to another bank or to another state of it; or
            training it again fails, or results in another validation accuracy than the recorded one; or it is a
            fine-tune, which takes no features.
    """
    check_head(bank, run)
    if run.fold:
        message = (
            f"run {run.run} was trained on fold {run.fold[0] + 1} of {run.fold[1]}: train {run.spec} without folds"
        )
        raise HeadError(message)
    saved = saved_head(run)
    return refitted_head(bank, run, reporter=reporter) if saved is None else saved


def check_head(bank: Bank, run: RunRecord) -> None:
    """Checks that a run has a head that was trained on a bank as it is now.

    Raises:
        HeadError: the run is a fine-tune, it failed, or it belongs to another bank or to another state of it.
    """
    if is_finetuned(run):
        message = (
            f"run {run.run} is a fine-tune, a model of images and no head on features: export it, or take its head"
        )
        raise HeadError(message)
    if run.failure:
        message = f"run {run.run} failed ({run.failure}): choose another"
        raise HeadError(message)
    check_belongs(bank, run)


def check_belongs(bank: Bank, run: RunRecord) -> None:
    """Raises HeadError if a run was trained on another bank, or on another state of it."""
    if not belongs(run, bank):
        what = "fine-tune" if is_finetuned(run) else "train heads on it"
        message = f"run {run.run} was not trained on '{bank.name}' as it is now: {what} again"
        raise HeadError(message)


def saved_head(run: RunRecord) -> Any | None:
    """Returns the head of a run from its file; None if its weights were not kept, or are damaged."""
    if is_file(run.saved_path) and digest.of_file(run.saved_path) == run.weights:
        with contextlib.suppress(HeadError):  # a damaged head is trained again
            return load_head(run.saved_path)
    return None


def refitted_head(bank: Bank, run: RunRecord, *, reporter: Reporter = SILENT) -> Any:
    """Trains the head of a run again; of a cross-validated run, on the same folds.

    Raises:
        HeadError: the head is code that no file may name, training it fails, or it results in another validation
            accuracy than the recorded one.
    """
    _check_code(run)
    alone = "" if run.together == 1 else f" for each of {run.together} heads in one program"
    reporter.say(
        f"the weights of run {run.run} were not kept: training {run.spec} again, which took "
        f"{duration(run.seconds)}{alone}"
    )
    results: list[Fitted] = []
    with reporter.step(f"training {run.spec} again, which took {duration(run.seconds)}{alone}"):
        fit_heads([(specification(run), run.seed)], images_of(bank, run), lambda _, fitted: results.append(fitted))
    check_same(run, results[0])
    return results[0].head


def check_refit(bank: Bank, run: RunRecord) -> None:
    """Raises HeadError if the head of a run cannot be trained again on a bank."""
    check_head(bank, run)
    _check_code(run)


def check_same(run: RunRecord, fitted: Fitted) -> None:
    """Raises HeadError if a head that was trained again failed, or has another validation accuracy than recorded."""
    if fitted.failure:
        message = f"run {run.run} cannot be trained again: {fitted.failure}"
        raise HeadError(message)
    again, recorded = fitted.metrics["val"]["accuracy"], run.metrics["val"]["accuracy"]
    if abs(again - recorded) > _TOLERANCE:
        message = f"run {run.run} reaches {again:.4f} when trained again, its record says {recorded:.4f}: train it anew"
        raise HeadError(message)


def _check_code(run: RunRecord) -> None:
    """Raises HeadError if the head of a run is code that no file may name."""
    if not run.spec.head_kind.runs_no_foreign_code:
        message = (
            f"the record of run {run.run} says that its head is '{run.head}', and no file may say which code is run: "
            f"train it and go on in one command, as heads --head {run.head} --test (in Python: import it before)"
        )
        raise HeadError(message)


def keep_weights(run: RunRecord, head: Any) -> RunRecord:
    """Saves the weights of a run, then its record, so that a record with weights always has its file.

    Raises:
        HeadError: the class of the head cannot be restored safely.
        DiskFullError, OSError: the files cannot be written.
    """
    save_head(head, run.saved_path)
    saved = replace(run, weights=digest.of_file(run.saved_path))
    saved.save()
    return saved


def images_of(bank: Bank, run: RunRecord) -> TrainingData:
    """Loads the training and validation images of a run: the bank's own split, or its fold; of all, its sample."""
    views = run.views  # if the number is unknown, all: the accuracy shows whether that is right
    fold = Fold(*run.fold) if run.fold else None
    return training_data(bank, run.tap, views, fold, run.sample, recorded=run.joined)


def specification(run: RunRecord) -> HeadSpec:
    """Returns the specification that was trained: of a run that successive halving stopped, with fewer epochs."""
    if run.rung is None:
        return run.spec
    return run.spec.with_params({**run.spec.params, "epochs": run.rung[2]})
