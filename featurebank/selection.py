"""Stage: runs -> the chosen run, by validation alone; the only door to the test split."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from featurebank import digest
from featurebank.bank import Bank
from featurebank.errors import DatasetError, HeadError
from featurebank.heads.fitting import Fitted, TrainingData, align, fit_heads
from featurebank.heads.runs import Run, load_runs
from featurebank.heads.saved import load_head
from featurebank.heads.standing import ranked
from featurebank.metrics import scores_with_intervals


def select(runs: Iterable[Run]) -> Run:
    """Returns the run to go on with: the first of `leaderboard`. The test split plays no part in it.

    Raises:
        HeadError: there is no run, or all of them failed.
    """
    found = ranked(runs)
    if not found:
        message = "there is no run to choose from: train some with 'featurebank heads --grid'"
        raise HeadError(message)
    if found[0].failure:
        message = f"all {len(found)} runs failed; the first: {found[0].spec}: {found[0].failure}"
        raise HeadError(message)
    return found[0]


def leaderboard(bank: Bank) -> list[Run]:
    """Returns all runs of a bank as it is now, best first; see `ranked` for the order."""
    return ranked(load_runs(bank))


def evaluate_test(bank: Bank, run: Run) -> Run:
    """Opens the test split for a chosen run: scores it with intervals and records the result with its date.

    A run that was tested before, by this call or an earlier one, keeps its result; the split is not opened again.

    Args:
        bank: the bank that the run was trained on.
        run: what `select` returned.

    Returns:
        The run with `metrics["test"]`.

    Raises:
        DatasetError: the bank has no test images.
        HeadError: the head failed, belongs to another bank, or cannot be trained again where its weights were not kept.
    """
    run = next((known for known in load_runs(bank) if known.run == run.run and known.tested), run)
    if "test" in run.metrics:
        return run
    labels = bank.labels("test")
    if not len(labels):
        message = f"'{bank.name}' has no test images: extract again with another --split, as --split .7,.15,.15"
        raise DatasetError(message)
    head = trained_head(bank, run)
    probabilities = align(head.predict_proba(bank.features(run.tap, "test")), head.classes_, len(bank.classes))
    found = {**scores_with_intervals(probabilities, labels), "images": len(labels)}
    tested = replace(
        run, metrics={**run.metrics, "test": found}, tested=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    tested.save()
    return tested


def trained_head(bank: Bank, run: Run) -> Any:
    """Returns the head of a run: its kept weights, else trained again with the same specification and seed.

    Raises:
        HeadError: the run failed, or belongs to another bank or to another state of it; training it again fails, or
            gives another validation accuracy than the recorded one.
    """
    if run.failure:
        message = f"run {run.run} failed ({run.failure}): choose another"
        raise HeadError(message)
    if run.bank != bank.digest:
        message = f"run {run.run} was not trained on '{bank.name}' as it is now: train heads on it again"
        raise HeadError(message)
    if run.saved_path.is_file() and digest.of_file(run.saved_path) == run.weights:
        with contextlib.suppress(HeadError):  # what is damaged is trained again
            return load_head(run.saved_path)
    results: list[Fitted] = []
    fit_heads([(run.spec, run.seed)], TrainingData.of(bank, run.tap), lambda _, fitted: results.append(fitted))
    if results[0].failure:
        message = f"run {run.run} cannot be trained again: {results[0].failure}"
        raise HeadError(message)
    again, recorded = results[0].metrics["val"]["accuracy"], run.metrics["val"]["accuracy"]
    if abs(again - recorded) > 0.01:  # noqa: PLR2004 - one point: more than another thread count can explain
        message = f"run {run.run} reaches {again:.4f} when trained again, its record says {recorded:.4f}: train it anew"
        raise HeadError(message)
    return results[0].head
