"""Reads corrected labels, checks all of them, and relabels a bank; files of the dataset are never changed."""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featurebank.bank import Bank, banks_of
from featurebank.bank.maintenance.relabelling import relabel
from featurebank.bank.manifest import load_manifest
from featurebank.bank.pages.corrections import CORRECTIONS
from featurebank.dataset.readers.text_encoding import decode_text
from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import ConfigError
from featurebank.system.files import read_regular
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted, names, problem_lines

_COLUMNS = ("path", "label")
_MOST_COMPARED = 20_000
"""Ids that a misspelled one is compared with; more would take seconds."""
_NEAR_NAMES = 20
"""Unknown images that get the nearest id; the others only say that they are unknown."""


@dataclass(frozen=True)
class LabelChange:
    """An image that gets another label."""

    id: str
    was: str
    label: str
    split: str
    position: int
    """In `Bank.ids()`."""


@dataclass(frozen=True)
class Relabelling:
    """The labels that corrections change in a bank.

    Example:
        >>> bank = fb.extract(fb.load_dataset("photos"), "my_networks:small")
        >>> fb.correct_labels(bank, {"rose/1.jpg": "tulip"}, dry_run=True)
        <Relabelling of 1 image, not applied: rose to tulip 1>
    """

    bank: Bank
    """The bank, with its new labels if they were applied."""
    changes: tuple[LabelChange, ...]
    unchanged: int
    """The number of corrections that name the label that the image has already."""
    applied: bool
    others: tuple[str, ...] = ()
    """The names of the other banks of this dataset in the cache that have other labels now."""

    def __repr__(self) -> str:
        how = "" if self.applied else ", not applied"
        kinds = [f"{was} to {label} {count}" for (was, label), count in self.counts.items()]
        return f"<Relabelling of {counted(len(self.changes), 'image')}{how}{': ' * bool(kinds)}{names(kinds, 3)}>"

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """The number of changes by the label so far and the new one, the most frequent first."""
        counts = defaultdict[tuple[str, str], int](int)
        for change in self.changes:
            counts[change.was, change.label] += 1
        return dict(sorted(counts.items(), key=lambda one: -one[1]))

    @property
    def notes(self) -> list[str]:
        """What the user should know of the changes, one line each."""
        tests = sum(change.split == "test" for change in self.changes)
        lines = []
        if tests:
            lines.append(
                f"{counted(tests, 'test label')} {'changes' if tests == 1 else 'change'}: test results from before "
                "cannot be compared with later ones"
            )
        if self.changes:
            lines.append("runs that were trained with the old labels are stale: train the heads again")
        if self.changes and self.others:
            verb = "keeps its" if len(self.others) == 1 else "keep their"
            lines.append(
                f"{counted(len(self.others), 'other bank')} of this dataset {verb} labels: apply the corrections with "
                f"--bank {names(self.others, 3)}, too"
            )
        return lines


def correct_bank(
    bank: Bank, corrections: Mapping[str, str] | str | os.PathLike[str], *, dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> Relabelling:  # fmt: skip
    """Relabels images of a bank; see `featurebank.correct_labels`.

    Raises:
        ConfigError: a correction is wrong; the message has one line for each problem.
        BankError: the bank cannot be read or written.
    """
    if isinstance(corrections, Mapping):
        rows = [("", name, label) for name, label in corrections.items()]
        source = "corrections"
    else:
        source = f"'{os.fspath(corrections)}'"
        rows = list(_read(Path(corrections), source))
    changes, unchanged = _checked(bank, rows, source)
    if dry_run or not changes:
        return Relabelling(bank, tuple(changes), unchanged, applied=False)
    digests, places = bank.digests(), {name: place for place, name in enumerate(bank.classes)}
    labels = {bytes(digests[one.position]): (places[one.was], places[one.label]) for one in changes}
    relabelled = relabel(bank.path, labels, reporter=reporter)
    return Relabelling(relabelled, tuple(changes), unchanged, applied=True, others=_others(relabelled))


def _others(bank: Bank) -> tuple[str, ...]:
    """Returns the names of the other banks of the dataset in the cache whose corrections are not those of the bank."""
    dataset = bank.manifest.dataset
    known = [one for one in banks_of(bank.path.parent) if one.problem is None and one.dataset == dataset["name"]]
    return tuple(
        sorted(
            one.path.name
            for one in known
            if one.path.name != bank.path.name
            and load_manifest(one.path).dataset.get(CORRECTIONS) != dataset.get(CORRECTIONS)
        )
    )


def _read(path: Path, source: str) -> Iterator[tuple[str, str, str]]:
    """Yields place, path and label of each row of a CSV file.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    try:
        text = decode_text(read_regular(path))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"{source} cannot be read: {reason}"
        raise ConfigError(message) from error
    first = text.lstrip().partition("\n")[0]
    delimiter = next((sign for sign in ",;\t" if sign in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = [(reader.line_num, [cell.strip() for cell in record]) for record in reader if record]
    except csv.Error as error:
        message = f"{source}: line {reader.line_num} is not valid CSV: {error}"
        raise ConfigError(message) from error
    if not records:
        message = f"{source} is empty: expected the columns path and label, as 'featurebank advise --csv' writes"
        raise ConfigError(message)
    header = [name.lower() for name in records[0][1]]
    missing = [name for name in _COLUMNS if header.count(name) != 1]
    if missing:
        message = (
            f"{source} has the columns {', '.join(records[0][1])}: expected {names(missing)} exactly once, as "
            "'featurebank advise --csv' writes"
        )
        raise ConfigError(message)
    if len(records) == 1:
        message = f"{source} has no rows: expected an image and its label in each"
        raise ConfigError(message)
    uneven = [f"line {line} has {counted(len(row), 'field')}: expected {len(header)}" for line, row in records[1:]
              if len(row) != len(header)]  # fmt: skip
    if uneven:
        raise ConfigError(problem_lines(uneven, f"{source}: "))
    columns = [header.index(name) for name in _COLUMNS]
    for line, row in records[1:]:
        yield (f"line {line}: ", row[columns[0]], row[columns[1]])


def _checked(bank: Bank, rows: Sequence[tuple[str, str, str]], source: str) -> tuple[list[LabelChange], int]:
    """Returns what changes, and how many rows change nothing.

    Raises:
        ConfigError: an image or a class is unknown, or an image gets two labels; one line for each problem.
    """
    positions = _positions(bank, [path for _, path, _ in rows])
    codes, splits, digests = bank.labels(), bank.splits(), bank.digests()
    problems, unchanged = list(_unknown(bank, rows, positions)), 0
    first: dict[bytes, tuple[str, str]] = {}
    changes: dict[int, LabelChange] = {}
    for place, path, text in rows:
        position, label = positions[path], _class_of(text, bank.classes)
        if position < 0 or label is None:
            continue
        if splits[position] == UNLABELLED:
            problems.append(f"{place}image '{path}' has no label to correct: give it one in the dataset, and extract")
            continue
        content = bytes(digests[position])
        other, earlier = first.setdefault(content, (path, label))
        if earlier != label:
            same = "twice" if other == path else f"and the same image as '{other}'"
            problems.append(f"{place}image '{path}' is listed {same}, with the labels {earlier} and {label}: keep one")
        elif bank.classes[codes[position]] == label:
            unchanged += 1
        else:
            changes[position] = LabelChange(path, bank.classes[codes[position]], label, str(splits[position]), position)
    if problems:
        raise ConfigError(problem_lines(problems, f"{source}: "))
    changes |= _copies(bank, changes)
    ids = bank.ids_at(np.array(list(changes), np.int64))  # a file may write them so that no spreadsheet evaluates them
    return [replace(one, id=name) for one, name in zip(changes.values(), ids, strict=True)], unchanged


def _copies(bank: Bank, changes: Mapping[int, LabelChange]) -> dict[int, LabelChange]:
    """Returns the same changes of the other images with these contents and labels, which change along, by position."""
    codes, splits, digests = bank.labels(), bank.splits(), bank.digests()
    by_content = {(bytes(digests[position]), codes[position]): change for position, change in changes.items()}
    found = {}
    for place in np.flatnonzero(np.isin(digests, digests[list(changes)])).tolist():
        change = by_content.get((bytes(digests[place]), codes[place]))
        if change is not None and place not in changes:
            found[place] = replace(change, split=str(splits[place]), position=place)
    return found


def _unknown(bank: Bank, rows: Sequence[tuple[str, str, str]], positions: Mapping[str, int]) -> Iterator[str]:
    """Yields a line for each unknown image, and for each label that is no class."""
    ids = bank.ids() if any(position < 0 for position in positions.values()) else []
    compared = 0
    for place, path, text in rows:
        if positions[path] < 0:
            compared += 1
            near = difflib.get_close_matches(path, ids[:_MOST_COMPARED], 1) if compared <= _NEAR_NAMES else []
            hint = f", did you mean '{near[0]}'?" if near else f": expected the id of an image of bank '{bank.name}'"
            yield f"{place}unknown image '{path}'{hint}"
        if _class_of(text, bank.classes) is None:
            yield f"{place}unknown class '{text}' for image '{path}': expected {names(bank.classes, 8)}"


def _positions(bank: Bank, paths: Sequence[str]) -> dict[str, int]:
    """Returns the position of each path in `Bank.ids()`, -1 for an unknown one."""
    plain_names = {path: path[1:] if path[:2] in {"'=", "'+", "'-", "'@"} else path for path in paths}
    searched = {*plain_names, *plain_names.values()}
    known = {name: place for place, name in enumerate(bank.ids()) if name in searched}
    return {path: known.get(path, known.get(plain, -1)) for path, plain in plain_names.items()}


def _class_of(text: str, classes: Sequence[str]) -> str | None:
    """Returns the class that a cell names, also one that was written so that no spreadsheet evaluates it."""
    return next((name for name in (text, text[1:] if text.startswith("'") else text) if name in classes), None)
