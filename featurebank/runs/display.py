"""The displays of runs in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from featurebank.dataset.pictures import local_paths, thumbnails_of_files
from featurebank.metrics import ACCURACY
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
    from featurebank.metrics import Metric
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
    shown = entries[: len(names)]
    failed = sum(run.failure is not None for run in board)
    facts = [counted(len(board), "run"), counted(len(entries), "head"), f"on {in_words(board.folds)}"]
    facts += [f"ranked by {board.metric.title}"] if board.metric != ACCURACY else []
    hidden = len(entries) - len(shown)
    more = [f"and {counted(hidden, 'more head')}"] if hidden else []
    if any(entry.indistinguishable for entry in shown[1:]):
        more.append("= does not differ significantly from the first")
    columns = {
        "": [f"{place}{' =' if entry.indistinguishable and place > 1 else ''}" for place, entry in enumerate(shown, 1)],
        "head": list(names), "tap": [entry.spec.tap for entry in shown],
        **_bank_columns(shown, costs), **_metric_columns(shown, board.metric), **_columns(shown),
    }  # fmt: skip
    table = CellTable(list(columns), list(zip(*columns.values(), strict=True)), more="; ".join(more))
    warnings = [f"{counted(failed, 'run')} failed"] if failed else []
    return render("Leaderboard", facts=facts, notes=_notes(omitted, costs), warnings=warnings, blocks=[table])


def _notes(common: Mapping[str, Sequence[str]], costs: CostTable) -> list[str]:
    """Returns the parameters that all heads of a kind have, and what has to be known about costs."""
    words = [f"{word} ({', '.join(kinds)})" for word, kinds in common.items()]
    lines = [f"common to these rows: {', '.join(words)}"] if words else []
    return [*lines, *(costs.remarks() if costs.has_several_banks else [])]


def _columns(entries: Sequence[Entry]) -> dict[str, list[object]]:
    """Returns the columns about the accuracy, and the time."""
    intervals = {} if any(entry.metric != ACCURACY for entry in entries) else _intervals(e.interval for e in entries)
    return {
        "validation accuracy": [_bar(entry.mean, entry.std) for entry in entries],
        **intervals,
        "training accuracy": [f"{entry.train:.4f}" for entry in entries],
        "fit": [entry.verdict for entry in entries], "seconds": [f"{entry.seconds:.2f}" for entry in entries],
    }  # fmt: skip


def _metric_columns(entries: Sequence[Entry], metric: Metric) -> dict[str, list[object]]:
    """Returns the columns about the metric that ranks the heads; none for the accuracy, which has its own."""
    if metric == ACCURACY:
        return {}
    spreads = ["" if entry.value_std is None else f" ± {entry.value_std:.3f}" for entry in entries]
    values = [f"{entry.value:.4f}{spread}" for entry, spread in zip(entries, spreads, strict=True)]
    return {metric.title: list(values), **_intervals(entry.value_interval for entry in entries)}


def _bank_columns(entries: Sequence[Entry], costs: CostTable) -> dict[str, list[object]]:
    """Returns the banks and what predictions with their networks cost; nothing for the heads of one bank."""
    if not costs.has_several_banks:
        return {}
    rates = [costs.of(entry.runs[0]).images_per_second for entry in entries]
    return {
        "bank": [costs.labels[entry.runs[0].directory] for entry in entries],
        "images/s": ["-" if rate is None else f"{rate:.0f}" for rate in rates],
    }


def _intervals(ends: Iterable[tuple[float, float] | None]) -> dict[str, list[object]]:
    return {"95 % interval": ["-" if pair is None else f"{pair[0]:.3f} to {pair[1]:.3f}" for pair in ends]}


def _bar(mean: float, std: float | None) -> Bar:
    spread = "" if std is None else f" ± {std:.3f}"
    return Bar([("val", mean, f"{mean:.4f}")], f"{mean:.4f}{spread}")


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
    gain = (run.finetune or {}).get("gain", {})
    notes = [gain["worth"]] if "worth" in gain else []
    blocks: list[Block | None] = [_accuracies(run.metrics), _curves(run.history)]
    if bank is not None:
        blocks += [_recalls(run, bank.classes), _wrong(run, bank)]
    return render(f"Run {run.run}", facts=facts, notes=notes, warnings=run.notes, blocks=blocks)


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
