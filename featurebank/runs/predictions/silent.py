"""Heads that say only a class for each image: no metric that needs probabilities can rank them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from featurebank.errors import ConfigError, HeadError, HeadWarning
from featurebank.metrics import Metric
from featurebank.runs.predictions.stored import load_predictions
from featurebank.runs.run import RunRecord
from featurebank.system.alike import enumerate_some
from featurebank.system.progress import Reporter
from featurebank.words import counted

_Run = TypeVar("_Run", bound=RunRecord)
INSTEAD = "accuracy, balanced_accuracy, macro_f1 or recall:CLASS"
"""The metrics for such heads."""


def without_silent(runs: Sequence[_Run], metric: Metric, reporter: Reporter) -> list[_Run]:
    """Returns the runs that a metric can rank, after a warning that names the heads of the others.

    Args:
        runs: runs of one bank or several.
        metric: the metric.
        reporter: receives the warning.

    Raises:
        HeadError: the metric can rank none of them.
    """
    if not metric.needs_scores:
        return list(runs)
    known: dict[str, bool] = {}
    marks = [not run.failure and _is_silent(run, known) for run in runs]
    silent, left = ([run for run, mark in zip(runs, marks, strict=True) if mark is which] for which in (True, False))
    if not silent:
        return left
    heads = enumerate_some(list(dict.fromkeys(run.head for run in silent)))
    if all(run.failure for run in left):
        message = (
            f"the metric '{metric.name}' needs probabilities, but all heads say only the class of an image ({heads}): "
            f"rank by {INSTEAD}"
        )
        raise HeadError(message)
    reporter.warn(
        f"the metric '{metric.name}' needs probabilities, so {counted(len(silent), 'run')} of heads that say only the "
        f"class of an image {'is' if len(silent) == 1 else 'are'} left out of this ranking: {heads}",
        HeadWarning,
    )
    return left


def _is_silent(run: RunRecord, known: dict[str, bool]) -> bool:
    """Returns whether the head of a run has neither probabilities nor a decision function.

    The predictions tell it where a class must not be imported because only a file names it.

    Args:
        run: the run.
        known: the answers so far, by the key of the specification.
    """
    kind = run.spec.head_kind
    if run.is_finetune or ":" not in kind.name:
        return False
    if kind.runs_no_foreign_code:
        try:
            return known.setdefault(run.spec.key, not run.spec.gives_scores)
        except ConfigError:  # the package is not installed here
            pass
    images = load_predictions(run)
    return images is not None and images.probabilities is not None and bool(np.isin(images.probabilities, (0, 1)).all())
