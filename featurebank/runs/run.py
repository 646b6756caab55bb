"""A run: the record of one trained head, in one file of the bank's `runs/`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.run_record import check_run_record
from featurebank.errors import DatasetError
from featurebank.fitting.folds import dataset_folds
from featurebank.fitting.joined.parts import has_same_columns
from featurebank.fitting.joined.rows import joined_identity
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.storage.saving import SUFFIX
from featurebank.metrics import unpack
from featurebank.system import digest
from featurebank.system.backing.directories import find
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import counted, one_line

FINETUNE = "finetune"
"""The value of `RunRecord.head` for fine-tunes."""
_NOT_STORED = ("directory", "class_names")
_SPLITS = {"val": "validation"}
MODEL_SUFFIX = ".keras"


@dataclass(frozen=True, repr=False)
class RunRecord:
    """One trained head: its specification, its training and its metrics."""

    run: str
    """The id: ten digits of the digest of everything that the run depends on, see `run_id`."""
    head: str
    """The kind of the head; "finetune" for a fine-tune."""
    params: Mapping[str, Any]
    """All parameters of the head; those of a fine-tune that differ from the defaults."""
    tap: str
    """The tap that it was trained on."""
    seed: int
    """The seed of the training."""
    seconds: float
    """Duration of the training. Heads that were trained together share the time of their program equally."""
    metrics: Mapping[str, Mapping[str, Any]]
    """"train" and "val": accuracy, loss, macro_f1; "test" only for a run that was tested."""
    bank: str
    """`Bank.digest` of the bank that it was trained on."""
    created: str
    """The time when the training ended."""
    together: int = 1
    """The number of heads that its program trained together."""
    history: Mapping[str, Any] | None = None
    """For heads with epochs: lists with one value per epoch."""
    failure: str | None = None
    """The reason why there are no metrics; None for a successful run."""
    notes: tuple[str, ...] = ()
    """Warnings of the library that trained it."""
    tested: str | None = None
    """The time when the run was tested."""
    weights: str | None = None
    """The digest of the file with its weights, if they were saved."""
    fold: tuple[int, int, int] | None = None
    """For cross-validation: fold, number of folds and repetition, such as (0, 5, 0); None for the bank's own split."""
    rung: tuple[int, int, int] | None = None
    """For a run that successive halving stopped: rung, number of rungs and epochs, such as (1, 3, 12)."""
    parameters: int | None = None
    """The number of parameters of the trained head, if known."""
    right: str | None = None
    """Which validation images it classifies correctly, in the bank's order of ids: packed bits in hexadecimal."""
    graft: Mapping[str, Any] | None = None
    """The proof of its latest graft: images, difference, tolerance, layers."""
    finetune: Mapping[str, Any] | None = None
    """For a fine-tune: the run that it started from, its phases, and the gain."""
    revision: int = 1
    """The revision of the fitting algorithm; see `HeadKind.revision`."""
    views: int | None = 0
    """The number of augmented views of each training image; None for all that the bank has."""
    name: str = ""
    """The user's own name for the head; empty for none."""
    sample: int | None = None
    """The number of training images, if it was trained on a sample of them; None for all."""
    joined: Mapping[str, Any] | None = None
    """For a joined tap: what identifies its parts; see `featurebank.fitting.joined.parts.JoinedTap.identity`."""
    directory: Path = field(default=Path(), compare=False)
    """The directory of the bank; not stored."""
    class_names: tuple[str, ...] = field(default=(), compare=False)
    """The names of the bank's classes; not stored."""

    def __repr__(self) -> str:
        return f"<Run {self.title}>"

    @property
    def title(self) -> str:
        """A description in one line: the id, the head and its result."""
        if self.failure:
            result = f"failed: {one_line(self.failure)}"
        else:
            shown = {split: values["accuracy"] for split, values in self.metrics.items() if split != "train"}
            result = ", ".join(f"{_SPLITS.get(split, split)} accuracy {value:.4f}" for split, value in shown.items())
        fold = f", fold {self.fold[0] + 1} of {self.fold[1]}" if self.fold else ""
        stopped = f", {self.stopped}" if self.rung else ""
        return f"{self.run}: {self.spec} on {self.tap}, seed {self.seed}{fold}{stopped}, {result}"

    @cached_property
    def spec(self) -> HeadSpec:
        """The specification of the head."""
        return HeadSpec(self.head, self.params, self.tap, self.views, self.name, self.sample, self.class_names)

    @cached_property
    def key(self) -> tuple[str, str]:
        """What is ranked and compared: a specification on a bank, as the bank's absolute path and `HeadSpec.key`."""
        return os.path.abspath(self.directory), self.spec.key  # noqa: PTH100 - of text: a Path takes ten times as long

    @property
    def bank_name(self) -> str:
        """The name of the bank that it was trained on."""
        return self.directory.name

    @property
    def is_finetune(self) -> bool:
        """Whether the network was trained, too."""
        return self.head == FINETUNE

    @property
    def folds(self) -> int:
        """The evaluation protocol: the number of folds, or 1 for the bank's own split.

        Negative numbers stand for the dataset's own folds: -5 for its own five.
        """
        if not self.fold:
            return 1
        return -self.fold[1] if self.fold[2] < 0 else self.fold[1]

    @property
    def saved_path(self) -> Path:
        """The file of its weights, if they were saved; for a fine-tune, of its model."""
        suffix = MODEL_SUFFIX if self.is_finetune else SUFFIX
        return self.directory / "runs" / f"{self.run}{suffix}"

    def rights(self) -> np.ndarray | None:
        """Returns which validation images it classifies correctly, (n,) bool; None if not recorded."""
        images = self.metrics.get("val", {}).get("images")
        return None if self.right is None or images is None else unpack(self.right, images)

    @property
    def stopped(self) -> str | None:
        """A description of where successive halving stopped this run; None for a run with all epochs."""
        return self.rung and f"stopped at rung {self.rung[0]} of {self.rung[1]}, after {counted(self.rung[2], 'epoch')}"

    def record(self) -> dict[str, Any]:
        """Returns the whole run as JSON values; without what it has none of, as earlier versions know it."""
        left_out = {*_NOT_STORED, *(name for name in ("sample", "joined") if getattr(self, name) is None)}
        return {name: value for name, value in asdict(replace(self, class_names=())).items() if name not in left_out}

    def summary(self) -> dict[str, Any]:
        """Returns the JSON values of a run for `heads --json` and `leaderboard --json`."""
        names = ["run", "head", "params", "tap", "views", "seed", "seconds", "metrics"]
        names += [name for name in ("name", "sample", "failure") if getattr(self, name)]
        record = self.record()
        return {**{name: record[name] for name in names}, "bank": self.bank_name}

    def save(self) -> None:
        """Writes the run's file atomically, with a checksum."""
        write_sealed(self.directory / "runs" / f"{self.run}.json", self.record())


def run_id(
    spec: HeadSpec, seed: int, bank: Bank, *, fold: Sequence[int] | None = None, rung: Sequence[int] | None = None
) -> str:
    """Returns the id of a run, which is the same on every machine and at any time.

    It depends on everything that determines the input and the training of a head: specification (kind, parameters, tap,
    views, sample), seed, fold, rung, the stored type of the tap (of a joined tap, the parts in other banks and the
    columns), the revision of the fitting algorithm, and `Bank.digest`.
    """
    recipe = {
        "spec": spec.key, "seed": seed, "bank": bank.digest,
        "stored": joined_identity(bank, spec.tap) or bank.tap_dtype(spec.tap),
        "fold": list(fold or ()), "rung": list(rung or ()),
        **({"revision": revision} if (revision := spec.revision(len(bank.classes))) > 1 else {}),
    }  # fmt: skip
    return digest.of_recipe(recipe)[:10]


def belongs(run: RunRecord, bank: Bank) -> bool:
    """Returns whether a run was trained on the current state of a bank."""
    return run.bank in {bank.digest, bank.former_digest}


def load_runs(bank: Bank, *, stale: bool = False, overtaken: bool = False) -> list[RunRecord]:
    """Returns the runs of a bank's current state.

    Unreadable and damaged files are skipped, and so are heads whose fitting algorithm was corrected later: these runs
    are trained again when a grid needs them.

    Args:
        bank: the bank.
        stale: return the runs of older states instead.
        overtaken: also return runs at a rung of successive halving that later continued.

    Raises:
        BankDamagedError: the checksum of a file is correct, but it is not a record of a run.
    """
    paths = find(bank.path / "runs", "*.json")
    classes = bank.classes
    every = [run for path in paths if (run := read_run(path, classes)) is not None]
    marks = {0, _own_folds(bank) if any(run.folds < 0 for run in every) else 0}
    runs = [run for run in every if (belongs(run, bank) and _mark(run) in marks and _is_current(run, bank)) != stale]
    runs = [run for run in runs if run.revision == run.spec.revision(len(bank.classes))]
    runs = runs if stale else _one_each([with_views(run, bank) for run in runs], bank)
    return runs if overtaken else without_overtaken(runs)


def _is_current(run: RunRecord, bank: Bank) -> bool:
    """Returns whether the columns of a run on a joined tap have not changed."""
    return run.joined is None or has_same_columns(bank, run.joined)


def _own_folds(bank: Bank) -> int:
    """Returns the identifier of the dataset's own folds; 0 if it has none."""
    try:
        return dataset_folds(bank)[0].repeat
    except DatasetError:
        return 0


def _mark(run: RunRecord) -> int:
    """Returns the identifier of the dataset's own folds that a run was evaluated on; 0 for other protocols."""
    return min(run.fold[2], 0) if run.fold else 0


def with_views(run: RunRecord, bank: Bank) -> RunRecord:
    """Returns a run of an earlier version with the number of views that it was trained on, if known.

    Its record lacks the number, but the bank's history says how many views existed at that time.
    """
    if run.views is not None:
        return run
    if not bank.views or not run.spec.head_kind.is_neural:
        return replace(run, views=0)
    before = [event for event in bank.manifest.history if event.get("time", "") <= run.created]
    last: Mapping[str, Any] = next(
        (event for event in reversed(before) if {"views", "linked", "merged"} & event.keys()), {}
    )
    return replace(run, views=last.get("views"))


def _one_each(runs: Sequence[RunRecord], bank: Bank) -> list[RunRecord]:
    """Returns one run for each specification, seed, fold and rung.

    There may be two runs if an image was renamed and later renamed back: one of an earlier version, one of this
    version. Then the tested run is returned, or otherwise the later one.
    """
    unique: dict[Any, RunRecord] = {}
    for run in sorted(runs, key=lambda run: (run.tested is not None, run.bank == bank.digest)):
        unique[run.head, run.spec.key, run.seed, run.fold, run.rung] = run
    return sorted(unique.values(), key=lambda run: run.run)


def read_run(path: Path, classes: Sequence[str] = ()) -> RunRecord | None:
    """Returns the run in a file of a bank's `runs/`; None if the file is missing or damaged.

    Args:
        path: the file.
        classes: the names of the bank's classes, for texts about the run.

    Raises:
        BankDamagedError: the checksum of the file is correct, but it is not a record of a run.
    """
    try:
        value = {"views": None, **read_sealed(path)}
    except (OSError, ValueError):
        return None
    check_run_record(value, path)
    tuples = {name: tuple(value[name]) for name in ("notes", "fold", "rung") if value.get(name) is not None}
    run = RunRecord(**{**value, **tuples}, directory=path.parent.parent, class_names=tuple(classes))
    return run if run.run == path.stem else None  # a killed process leaves unfinished files with other names


def without_overtaken(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Returns the runs without those at a rung of successive halving that continued at a later rung."""
    runs = list(runs)
    racers = {(run.key, run.seed, run.fold) for run in runs if run.rung}
    furthest: dict[Any, float] = {}
    if racers:
        for run in runs:
            key = run.key, run.seed, run.fold
            if key in racers:
                furthest[key] = max(furthest.get(key, 0), run.rung[0] if run.rung else float("inf"))
    return [run for run in runs if not run.rung or run.rung[0] == furthest[run.key, run.seed, run.fold]]
