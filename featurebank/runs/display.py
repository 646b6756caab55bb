"""The displays of runs in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.dataset.pictures import local_paths, thumbnails_of_files
from featurebank.runs.costs.table import CostTable
from featurebank.runs.labels import short_names
from featurebank.runs.ranking import in_words
from featurebank.system.html import (
    CLASSES,
    PICTURES,
    SPLIT_WORDS,
    Bar,
    Bars,
    Block,
    CellTable,
    LineChart,
    Pictures,
    picture,
    render,
)
from featurebank.words import counted, duration

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.runs.comparison import Entry
    from featurebank.runs.leaderboard import Leaderboard
    from featurebank.runs.run import RunRecord

ENTRIES = 15
"""Maximum number of heads in a table."""


def leaderboard_html(board: Leaderboard[Any]) -> str:
    """Returns the display of a leaderboard: its best heads with their accuracies."""
    entries = board.entries
    names, omitted = short_names([entry.spec for entry in entries[:ENTRIES]])
    costs = CostTable([entry.runs[0] for entry in entries])
    if costs.has_several_banks:
        names = [
            f"{name}, {costs.labels[entry.runs[0].directory]}" for name, entry in zip(names, entries, strict=False)
        ]
    rows = [_row(place, name, entry) for place, (name, entry) in enumerate(zip(names, entries, strict=False), 1)]
    failed = sum(run.failure is not None for run in board)
    facts = [counted(len(board), "run"), counted(len(entries), "head"), f"on {in_words(board.folds)}"]
    facts += [f"with {word}" for word in omitted]
    hidden = len(entries) - len(rows)
    columns = ["", "head", "tap", "validation accuracy", "95 % interval", "training accuracy", "fit", "seconds"]
    more = [f"and {counted(hidden, 'more head')}"] if hidden else []
    if any(entry.indistinguishable for entry in entries[1:ENTRIES]):
        more.append("= does not differ significantly from the first")
    table = CellTable(columns, rows, more="; ".join(more))
    warnings = [f"{counted(failed, 'run')} failed"] if failed else []
    return render("Leaderboard", facts=facts, warnings=warnings, blocks=[table])


def _row(place: int, name: str, entry: Entry) -> list[object]:
    spread = "" if entry.std is None else f" ± {entry.std:.3f}"
    bar = Bar([("val", entry.mean, f"{entry.mean:.4f}")], f"{entry.mean:.4f}{spread}")
    mark = " =" if entry.indistinguishable and place > 1 else ""
    low, high = entry.interval
    return [
        f"{place}{mark}", name, entry.spec.tap, bar, f"{low:.3f} to {high:.3f}", f"{entry.train:.4f}", entry.verdict,
        f"{entry.seconds:.2f}",
    ]  # fmt: skip


def run_html(run: RunRecord, bank: Bank | None) -> str:
    """Returns the display of a run: accuracies, curves, the recall of each class, and images that it gets wrong.

    Args:
        run: the run.
        bank: the bank that it was trained on; None if it cannot be opened.
    """
    facts = [
        f"{run.spec} on {run.tap}", f"seed {run.seed}", f"trained in {duration(run.seconds)}",
        *([f"fold {run.fold[0] + 1} of {run.fold[1]}"] if run.fold else []), *([run.stopped] if run.stopped else []),
        *([f"{run.parameters:,} parameters"] if run.parameters else []),
    ]  # fmt: skip
    if run.failure:
        return render(f"Run {run.run}", facts=facts, warnings=[f"failed: {run.failure}"])
    blocks: list[Block | None] = [_accuracies(run.metrics), _curves(run.history)]
    if bank is not None:
        blocks += [_recalls(run, bank.classes), _wrong(run, bank)]
    return render(f"Run {run.run}", facts=facts, warnings=run.notes, blocks=blocks)


def _accuracies(metrics: Mapping[str, Mapping[str, Any]]) -> Bars:
    return Bars(
        [
            (SPLIT_WORDS[split], Bar([(split, values["accuracy"], split)], _with_interval(values)))
            for split, values in metrics.items()
            if split in SPLIT_WORDS and "accuracy" in values
        ],
        "accuracy",
    )


def _with_interval(values: Mapping[str, Any]) -> str:
    interval = values.get("accuracy_interval")
    return f"{values['accuracy']:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _curves(history: Mapping[str, Any] | None) -> LineChart | None:
    curves = {name: list((history or {}).get(name, ())) for name in ("accuracy", "val_accuracy")}
    lines = {name: values for name, values in curves.items() if len(values) > 1}
    return LineChart(lines, "accuracy by epoch", mark=int((history or {}).get("best_epoch", 0))) if lines else None


def _recalls(run: RunRecord, classes: Sequence[str]) -> Bars | None:
    """Returns the recall of the classes with the lowest recalls; None if it was not recorded."""
    recalls = run.metrics["val"].get("recall") or ()
    known = sorted(
        (value, name) for name, value in zip(classes, recalls, strict=False) if value is not None
    )  # fmt: skip
    if not known:
        return None
    rows = [(name, Bar([("good", value, f"{value:.3f}")], f"{value:.3f}")) for value, name in known[:CLASSES]]
    hidden = len(known) - len(rows)
    more = f"and {counted(hidden, 'class')} with higher recall" if hidden else ""
    return Bars(rows, "recall of each class on validation images, lowest first", more)


def _wrong(run: RunRecord, bank: Bank) -> Pictures | None:
    """Returns some validation images that are classified wrongly; None if they are not known, or not local files."""
    right = run.rights()
    positions = np.flatnonzero(bank.splits() == "val")
    if right is None or run.fold or len(right) != len(positions) or right.all():
        return None
    wrong = positions[~right]
    shown = wrong[:PICTURES]
    ids, labels = bank.ids_at(shown), bank.labels()[shown]
    paths = local_paths(str(bank.manifest.dataset.get("spec", "")), ids)
    if not any(paths):
        return None
    pictures = [
        picture(image, bank.classes[label], name)
        for image, label, name in zip(thumbnails_of_files(paths), labels.tolist(), ids, strict=True)
    ]
    return Pictures(
        pictures, f"{len(pictures)} of {counted(len(wrong), 'wrong validation image')}, with their true class"
    )
