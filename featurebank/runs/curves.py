"""The curves of runs as files: pictures of accuracy and loss by epoch, and the recorded histories as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.charts.files import SUFFIXES, save_chart
from featurebank.charts.history import history, over_fitting
from featurebank.errors import ConfigError, HeadError
from featurebank.runs.labels import short_names
from featurebank.runs.run import RunRecord
from featurebank.system.files import check_output, write_json
from featurebank.words import counted, one_line

__all__ = ["chart_curves", "check_curve_files", "curve_json", "curve_summary", "missing_curves", "write_curves"]

_PLACE = "{run}"
"""What stands for a run's id in the name of a file; then each run has a file of its own."""
_MOST_RUNS = 12
"""Maximum number of runs in one picture: more cannot be told apart."""

_MOST_EPOCHS = 100_000
"""Maximum number of epochs in one picture: drawing a million takes minutes and gigabytes."""


def missing_curves(run: RunRecord) -> str | None:
    """Returns why a run has no curves, in one line; None if it has some."""
    if any(_lists(run)):
        return None
    if run.failure:
        return f"run {run.run} ({run.spec}) has no curves, because it failed: {one_line(run.failure)}"
    return f"run {run.run} ({run.spec}) has no curves, because this kind of head is not trained in epochs"


def chart_curves(run: RunRecord) -> dict[str, Any]:
    """Returns the curves of a run as `history` draws them: of a fine-tune, from the results of its start."""
    start = (run.finetune or {}).get("epoch_0")
    return {**(run.history or {}), **({"epoch_0": start} if start else {})}


def curve_json(run: RunRecord) -> dict[str, Any]:
    """Returns the history of a run with its identity; `history` has lists by name, as in Keras's `History`.

    Example:
        >>> curves = {"loss": [0.9, 0.4], "val_accuracy": [0.5, 0.75], "best_epoch": 2}
        >>> results = {"val": {"accuracy": 0.75}}
        >>> run = RunRecord("0123456789", "mlp", {}, "pooled", 0, 1.5, results, bank="", created="", history=curves)
        >>> curve_json(run)["best_epoch"], curve_json(run)["history"]
        (2, {'loss': [0.9, 0.4], 'val_accuracy': [0.5, 0.75]})
    """
    recorded = dict(run.history or {})
    best = recorded.pop("best_epoch", None)
    return {
        "run": run.run, "head": run.head, **({"name": run.name} if run.name else {}), "params": dict(run.params),
        "tap": run.tap, "seed": run.seed, "seconds": run.seconds, "epochs": _epochs(run), "best_epoch": best,
        "history": recorded,
    }  # fmt: skip


def curve_summary(run: RunRecord) -> dict[str, Any]:
    """Returns epochs, best epoch, validation accuracy there, and the epochs that over-fit, of a run with curves."""
    curves = run.history or {}
    span = over_fitting(curves)
    return {
        "epochs": _epochs(run), "best_epoch": int(curves.get("best_epoch") or 0),
        "val_accuracy": run.metrics.get("val", {}).get("accuracy"), "over_fitting": span and list(span),
    }  # fmt: skip


def check_curve_files(
    paths: Iterable[str | os.PathLike[str]], runs: Sequence[RunRecord], *, force: bool = False
) -> list[tuple[Path, tuple[RunRecord, ...]]]:
    """Returns which runs are in each file, after checking all that can be checked before the work.

    Args:
        paths: the files; "{run}" in a name stands for the id of a run, and each run then has its own file.
        runs: runs with curves.
        force: whether existing files may be replaced.

    Raises:
        ConfigError: a path cannot be written, or too many runs would be in one picture.
    """
    files = []
    for path in [os.fspath(path) for path in paths]:
        each = [(path.replace(_PLACE, run.run), (run,)) for run in runs] if _PLACE in path else [(path, tuple(runs))]
        for name, members in each:
            target = check_output(name, force=force, suffixes=SUFFIXES)
            if len(members) > _MOST_RUNS and target.suffix.lower() != ".json":
                message = (
                    f"'{path}' would show {counted(len(members), 'run')}, expected {_MOST_RUNS} at most in one "
                    f"picture: write one for each run with {_PLACE} in the name, as 'curves-{_PLACE}{target.suffix}'"
                )
                raise ConfigError(message)
            epochs = sum(map(_epochs, members))
            if epochs > _MOST_EPOCHS and target.suffix.lower() != ".json":
                message = (
                    f"'{path}' would show {counted(epochs, 'epoch')}, expected {_MOST_EPOCHS} at most: "
                    "write a .json file"
                )
                raise ConfigError(message)
            files.append((target, members))
    return files


def write_curves(
    paths: Iterable[str | os.PathLike[str]], runs: Sequence[RunRecord], *, force: bool = False, dark: bool = False
) -> list[Path]:
    """Writes the curves of runs, each file atomically.

    Args:
        paths: see `check_curve_files`. A `.json` file has the object of `curve_json`, or a list of them for several
            runs; the others have pictures with two panels, accuracy and loss.
        runs: the runs.
        force: whether existing files are replaced.
        dark: whether pictures are for a dark page.

    Returns:
        The paths of the files.

    Raises:
        HeadError: a run has no curves.
        ConfigError: see `check_curve_files`.
        DiskFullError: no space is left on the disk.
    """
    for run in runs:
        if reason := missing_curves(run):
            raise HeadError(reason)
    files = check_curve_files(paths, runs, force=force)
    for path, members in files:
        if path.suffix.lower() == ".json":
            objects = [curve_json(run) for run in members]
            write_json(path, objects[0] if len(objects) == 1 else objects)
        else:
            names = short_names([run.spec for run in members])[0]
            curves = {f"{run.run} {name}": chart_curves(run) for run, name in zip(members, names, strict=True)}
            title = f"{members[0].spec} on {members[0].tap}, run {members[0].run}" if len(members) == 1 else ""
            chart = history(curves, title=one_line(title, 100))
            save_chart(chart, path, dark=dark, force=force, title=title)
    return [path for path, _ in files]


def _lists(run: RunRecord) -> list[Sequence[Any]]:
    """Returns the curves of accuracy and loss that have values."""
    recorded = run.history or {}
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [values for name in names if len(values := np.atleast_1d(recorded.get(name, [])).tolist())]


def _epochs(run: RunRecord) -> int:
    return max(map(len, _lists(run)), default=0)
