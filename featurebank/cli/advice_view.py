"""Advice on the terminal: first the sentences that matter, then the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from featurebank.cli.tables import print_table
from featurebank.cli.terminal import echo
from featurebank.words import between, counted, one_line, percent

if TYPE_CHECKING:
    from pathlib import Path

    from featurebank.advice.result import Advice, LabelConflict

_SHOWN = 10
_LONGEST = 30


def print_advice(advice: Advice) -> None:
    """Prints advice for people."""
    for line in advice.sentences:
        echo(f"- {line}")
    _print_labels(advice)
    _print_conflicts(advice)
    _print_confusions(advice)
    _print_forecasts(advice)
    _print_outliers(advice)
    _print_queue(advice)
    if advice.notes:
        echo()
        echo("how it was found out:")
    for line in advice.notes:
        echo(f"  {line}")


def next_step(csv: Path | None, bank: str | None) -> str:
    """Returns how labels that look wrong are corrected.

    Args:
        csv: the file of doubted labels that was written.
        bank: the bank that the user named.

    Example:
        >>> next_step(None, None)  # doctest: +NORMALIZE_WHITESPACE
        "next: 'featurebank advise --csv doubts.csv', correct the column 'label' of doubts.csv, then
        'featurebank advise --apply doubts.csv'"
    """
    file, command = csv or "doubts.csv", "featurebank advise" if bank is None else f"featurebank advise --bank {bank}"
    first = "" if csv else f"'{command} --csv {file}', "
    return f"next: {first}correct the column 'label' of {file}, then '{command} --apply {file}'"


def _print_labels(advice: Advice) -> None:
    rows = [
        (one.image.id, _name(one.image.label), _name(one.suggested), percent(one.probability), one.image.split)
        for one in advice.label_errors[:_SHOWN]
    ]
    doubted = all(one.is_doubted for one in advice.label_errors)
    title = "labels that look wrong" if doubted else "the least probable labels"
    _print(title, ("image", "label", "rather", "sure", "split"), rows, len(advice.label_errors))


def _print_conflicts(advice: Advice) -> None:
    rows = [_conflict(one) for one in advice.conflicts[:_SHOWN]]
    columns = ("image", "label", "other image", "other label", "cosine")
    _print("nearly equal images with different labels", columns, rows, len(advice.conflicts))


def _conflict(one: LabelConflict) -> tuple[str, ...]:
    cosine = "equal" if one.are_equal else f"{one.cosine:.4f}"
    return (one.first.id, _name(one.first.label), one.second.id, _name(one.second.label), cosine)


def _print_confusions(advice: Advice) -> None:
    chance = any(one.cannot_be_separated for one in advice.confusions[:_SHOWN])
    rows = [
        [f"{_name(one.first)}, {_name(one.second)}", one.first_as_second + one.second_as_first, one.images,
         percent(one.share), between(one.interval), *(["chance" if one.cannot_be_separated else ""] * chance)]
        for one in advice.confusions[:_SHOWN]
    ]  # fmt: skip
    columns = ("classes", "mixed up", "of images", "share", "95 % interval", *(["told apart by"] * chance))
    _print("classes that are mixed up", columns, rows, len(advice.confusions))


def _print_forecasts(advice: Advice) -> None:
    overall = [("all classes", one, one.more) for one in advice.forecasts]
    classes = [(_name(one.label), one.forecast, one.forecast.more) for one in advice.class_forecasts]
    rows = [
        (what, more, percent(1 - one.error), f"{100 * one.gain:+.1f}",
         "{:.1f} to {:.1f}".format(*(100 * end for end in one.gain_interval)))
        for what, one, more in (*overall, *classes[:_SHOWN])
    ]  # fmt: skip
    columns = ("what", "more images", "accuracy", "gain", "95 % interval")
    _print("what more images would bring, in points", columns, rows, len(rows))


def _print_outliers(advice: Advice) -> None:
    rows = [
        (one.image.id, _name(one.image.label), one.image.split, f"{one.distance:.3f}")
        for one in advice.outliers[:_SHOWN]
    ]
    _print("images that resemble no other", ("image", "label", "split", "distance"), rows, len(advice.outliers))


def _print_queue(advice: Advice) -> None:
    queue = advice.labelling.queue if advice.labelling else ()
    rows = [(one.path, _name(one.predicted), f"{one.margin:.2f}", one.group) for one in queue[:_SHOWN]]
    _print("what to label next", ("image", "rather", "margin", "group"), rows, len(queue))


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], total: int) -> None:
    if not rows:
        return
    echo()
    echo(f"{title}:")
    numbers = {"mixed up", "of images", "share", "cosine", "more images", "accuracy", "gain", "distance", "margin",
               "group", "sure"}  # fmt: skip
    print_table(columns, rows, right=[name for name in columns if name in numbers], whole=["split", "95 % interval"])
    if total > len(rows):
        echo(f"and {counted(total - len(rows), 'more row')} (--json lists them)")


def _name(label: str) -> str:
    return one_line(label, _LONGEST)
