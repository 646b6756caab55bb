"""Stage: runs -> the chosen run, by validation alone; the only door to the test split."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import (
    BankWarning,
    ConfigError,
    DatasetError,
    DiskFullError,
    HeadError,
    TestSplitWarning,
    unknown_name,
)
from featurebank.extraction.source_images import SourceImages
from featurebank.fitting.data import TrainingData, read_features
from featurebank.fitting.fit import fit_heads
from featurebank.fitting.fitted import Fitted
from featurebank.fitting.scoring import align
from featurebank.heads.storage.saving import load_head
from featurebank.metrics import ACCURACY, Metric, scores_with_intervals
from featurebank.runs.finetuned import BATCH, finetuned_model, is_finetuned, predict_batch
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.openings import opened_before, record_opening
from featurebank.runs.ranking import RULES, Ranking, in_words, latest_folds, ranked
from featurebank.runs.run import RunRecord, belongs, load_runs
from featurebank.system import digest
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, every


def choose_run(
    runs: Iterable[RunRecord], *, folds: int | None = None, rule: str = "best", metric: Metric = ACCURACY
) -> RunRecord:
    """Returns the run to go on with, by validation alone; see `featurebank.select`."""
    runs_list = list(runs)
    if not runs_list:
        message = "there is no run to choose from: train some with 'featurebank heads --grid'"
        raise HeadError(message)
    if rule not in RULES:
        raise unknown_name("rule of selection", rule, RULES)
    groups = Ranking(runs_list, folds=latest_folds(runs_list) if folds is None else folds, metric=metric).top()
    if not groups:
        raise _nothing(runs_list, folds)
    best = RULES[rule](groups)
    if best.folds == 1:
        return best.runs[0]
    seeds = [run.seed for run in best.runs]
    whole = [group for group in Ranking(runs_list, metric=metric).top() if group.spec == best.spec]
    return min(whole[0].runs, key=lambda run: run.seed not in seeds) if whole else best.runs[0]


def find_run(bank: Bank, name: str = "best") -> RunRecord:
    """Returns a run of a bank: "best" is what `choose_run` chooses, else the beginning of its id.

    Raises:
        UnknownNameError: no run's id begins like this.
        ConfigError: several do.
        HeadError: there is none to choose from.
    """
    runs = load_runs(bank)
    if name == "best":
        return choose_run(runs)
    matches = [run for run in runs if name and run.run.startswith(name)]
    if not matches:
        known = ["best", *(run.run for run in runs)]
        raise unknown_name("run", name, known, "'featurebank leaderboard --json' lists the ids")
    if len(matches) > 1:
        message = f"'{name}' is the beginning of {counted(len(matches), 'run')}: " + ", ".join(
            run.run for run in matches[:5]
        )
        raise ConfigError(message)
    return matches[0]


def _nothing(runs: list[RunRecord], folds: int | None) -> HeadError:
    """Returns the error of runs among which none can be chosen."""
    failed = [run for run in ranked(runs) if run.failure]
    protocols = sorted({run.folds for run in runs if not run.failure})
    if folds is not None and protocols and folds not in protocols:
        names = [in_words(number) for number in (folds, *protocols)]
        return HeadError(f"no run was evaluated on {names[0]}: there are runs on {' and '.join(names[1:])}")
    if not failed:
        return HeadError(f"a race stopped {every(len(runs), 'run')}: let it go on with the same command")
    return HeadError(f"{every(len(failed), 'run')} failed; the first: {failed[0].spec}: {failed[0].failure}")


def ranked_runs(bank: Bank, *, folds: int | None = None, metric: Metric = ACCURACY) -> Leaderboard:
    """Returns the runs of a bank as it is now, best first; see `featurebank.leaderboard`."""
    runs = load_runs(bank)
    number = latest_folds(runs) if folds is None else folds
    own = [run for run in runs if run.folds == number]
    return Leaderboard(ranked(own, folds=number, metric=metric), folds=number, metric=metric)


def open_test(bank: Bank, run: RunRecord, *, reporter: Reporter = SILENT) -> RunRecord:
    """Opens the test split for a chosen run; see `featurebank.evaluate_test`."""
    known = load_runs(bank)
    run = next((other for other in known if other.run == run.run and other.tested), run)
    if "test" in run.metrics:
        return run
    labels = bank.labels("test")
    if not len(labels):
        message = f"'{bank.name}' has no test images: extract again with another --split, as --split .7,.15,.15"
        raise DatasetError(message)
    predict = (_finetuned if is_finetuned(run) else _on_features)(bank, run, reporter)
    record_opening(bank, run, reporter)  # first, so that of two at once one at least sees the other
    before = opened_before(bank, run, known, load_runs(bank, stale=True), reporter)
    if before.warning:
        reporter.warn(before.warning, TestSplitWarning)
    scores = {
        **scores_with_intervals(predict(), labels), "opened_before": len(before.openings) + len(before.unknown),
        "images_opened_before": before.images,
    }  # fmt: skip
    tested = replace(
        run, metrics={**run.metrics, "test": scores}, tested=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    try:
        tested.save()
    except DiskFullError:
        raise
    except OSError as error:
        reporter.warn(f"the test result of run {run.run} is not recorded ({error.strerror}): note it down", BankWarning)
    return tested


def _on_features(bank: Bank, run: RunRecord, reporter: Reporter) -> Callable[[], np.ndarray]:
    """Returns what gives the probabilities of a head for the test images, (n, classes); they are not read before."""
    head = trained_head(bank, run)

    def predict() -> np.ndarray:
        features, _ = read_features(bank, run.tap, "test")
        return align(head.predict_proba(features), head.classes_, len(bank.classes))

    return predict


def _finetuned(bank: Bank, run: RunRecord, reporter: Reporter) -> Callable[[], np.ndarray]:
    """Returns what gives the probabilities of a fine-tuned model for the test images, (n, classes)."""
    model, images = finetuned_model(run), SourceImages(bank, ["test"], reporter=reporter)
    rows = range(0, len(images), BATCH)
    return lambda: np.concatenate(
        [predict_batch(model, images.read(np.arange(r, min(r + BATCH, len(images))))) for r in rows]
    )  # fmt: skip


def trained_head(bank: Bank, run: RunRecord) -> Any:
    """Returns the head of a run: its kept weights, else trained again with the same specification and seed.

    Raises:
        HeadError: the run failed, was trained on a fold, or belongs to another bank or to another state of it;
            training it again fails, or gives another validation accuracy than the recorded one; or it is a fine-tune,
            which no features can be given to.
    """
    if is_finetuned(run):
        message = (
            f"run {run.run} is a fine-tune, a model of images and no head on features: export it, or take its head"
        )
        raise HeadError(message)
    if run.failure:
        message = f"run {run.run} failed ({run.failure}): choose another"
        raise HeadError(message)
    if run.fold:
        message = (
            f"run {run.run} was trained on fold {run.fold[0] + 1} of {run.fold[1]}: train {run.spec} without folds"
        )
        raise HeadError(message)
    if not belongs(run, bank):
        message = f"run {run.run} was not trained on '{bank.name}' as it is now: train heads on it again"
        raise HeadError(message)
    if run.saved_path.is_file() and digest.of_file(run.saved_path) == run.weights:
        with contextlib.suppress(HeadError):  # what is damaged is trained again
            return load_head(run.saved_path)
    if not run.spec.head_kind.runs_no_foreign_code:
        message = (
            f"the record of run {run.run} says that its head is '{run.head}', and no file may say which code is run: "
            f"train it and go on in one command, as heads --head {run.head} --test (in Python: import it before)"
        )
        raise HeadError(message)
    results: list[Fitted] = []
    data = TrainingData.of(bank, run.tap, run.views)  # if their number is unknown, all; the accuracy is checked below
    fit_heads([(run.spec, run.seed)], data, lambda _, fitted: results.append(fitted))
    if results[0].failure:
        message = f"run {run.run} cannot be trained again: {results[0].failure}"
        raise HeadError(message)
    again, recorded = results[0].metrics["val"]["accuracy"], run.metrics["val"]["accuracy"]
    if abs(again - recorded) > 0.01:  # noqa: PLR2004 - one point: more than another thread count can explain
        message = f"run {run.run} reaches {again:.4f} when trained again, its record says {recorded:.4f}: train it anew"
        raise HeadError(message)
    return results[0].head
