"""Stage: runs -> the chosen run, by validation alone; the only door to the test split."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

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
from featurebank.metrics import ACCURACY, Metric, scores_with_intervals
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.openings import opened_before, record_opening
from featurebank.runs.predictions.scoring import complete_predictions, scored
from featurebank.runs.probabilities import load_fitted, predictor
from featurebank.runs.ranking import RULES, Ranking, in_words, latest_folds, ranked
from featurebank.runs.run import RunRecord, load_runs
from featurebank.runs.several import Banks, as_list, runs_of
from featurebank.system.backing.directories import find
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, every


def choose_run(
    runs: Iterable[RunRecord], *, folds: int | None = None, rule: str = "best", metric: Metric = ACCURACY
) -> RunRecord:
    """Returns the run to go on with, by validation alone; see `featurebank.select`.

    The runs must have the metric among their validation metrics; see `featurebank.runs.predictions.scoring.scored`.
    """
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
    whole = [group for group in Ranking(runs_list, metric=metric).top() if group.key == best.key]
    return min(whole[0].runs, key=lambda run: run.seed not in seeds) if whole else best.runs[0]


def find_run(
    banks: Banks, name: str = "best", *, metric: Metric = ACCURACY, reporter: Reporter = SILENT
) -> RunRecord:  # fmt: skip
    """Returns a run of a bank, or of one of several: "best" is what `choose_run` chooses, else the beginning of its id.

    Args:
        banks: the bank, or several that hold the same images.
        name: "best", or the beginning of an id.
        metric: what decides which run is best.
        reporter: see `scored`.

    Raises:
        UnknownNameError: no run's id begins like this.
        ConfigError: several do.
        HeadError: there is none to choose from, or it is a run of an older state of the bank or of another bank.
        ConfigError: several banks do not hold the same images.
    """
    runs = runs_of(banks)
    if name == "best":
        return choose_run(scored(runs, metric, reporter), metric=metric)
    matches = [run for run in runs if name and run.run.startswith(name)]
    if not matches:
        raise _no_run(as_list(banks), name, runs)
    if len(matches) > 1:
        message = f"'{name}' is the beginning of {counted(len(matches), 'run')}: " + ", ".join(
            run.run for run in matches[:5]
        )
        raise ConfigError(message)
    return matches[0]


def _no_run(banks: Sequence[Bank], name: str, runs: Sequence[RunRecord]) -> Exception:
    """Returns the error for an id that no run of some banks has; it may belong to an older state or to another bank."""
    old = [run for bank in banks for run in load_runs(bank, stale=True) if name and run.run.startswith(name)]
    if old:
        state = f"an older state of '{old[0].bank_name}' (other images, labels or split)"
        return HeadError(f"run {old[0].run} belongs to {state}: train {old[0].spec} again")
    for bank in banks:
        if name.isalnum() and (files := find(bank.path.parent, f"*/runs/{name}*.json")):
            other = files[0].parents[1].name
            mine = f"'{bank.name}'" if len(banks) == 1 else f"one of these {counted(len(banks), 'bank')}"
            return HeadError(f"run {files[0].stem} belongs to the bank '{other}', not to {mine}: add --bank {other}")
    return unknown_name(
        "run", name, ["best", *(run.run for run in runs)], "'featurebank leaderboard --json' lists the ids"
    )


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


def ranked_runs(
    banks: Banks, *, folds: int | None = None, metric: Metric = ACCURACY, reporter: Reporter = SILENT
) -> Leaderboard[RunRecord]:  # fmt: skip
    """Returns the current runs of a bank, or of several, best first; see `featurebank.leaderboard` and `scored`."""
    runs = runs_of(banks)
    number = latest_folds(runs) if folds is None else folds
    own = scored([run for run in runs if run.folds == number], metric, reporter)
    complete_predictions(own, metric, reporter)
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
    fitted = load_fitted(bank, run, reporter=reporter)
    predict = predictor(bank, run, "test", fitted, reporter=reporter)
    record_opening(bank, run, reporter)  # first, so that of two at once one at least sees the other
    before = opened_before(bank, run, known, load_runs(bank, stale=True), reporter)
    if before.warning:
        reporter.warn(before.warning, TestSplitWarning)
    scores = {
        **scores_with_intervals(predict(), labels, bank.groups("test")),
        "opened_before": len(before.openings) + len(before.unknown),
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
