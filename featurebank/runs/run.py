"""A run: one trained head with all that is known of it, in one file of the bank's `runs/`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.run_record import check_run_record
from featurebank.errors import DatasetError
from featurebank.fitting.folds import given_folds
from featurebank.fitting.spec import HeadSpec
from featurebank.heads.storage.saving import SUFFIX
from featurebank.metrics import unpack
from featurebank.system import digest
from featurebank.system.sealed_json import read_sealed, write_sealed
from featurebank.words import counted

FINETUNE = "finetune"
"""What the runs are called whose networks were trained, too."""
MODEL_SUFFIX = ".keras"


@dataclass(frozen=True)
class Run:
    """One trained head: its specification, how it was trained and how good it is."""

    run: str
    """Its id: ten digits of the digest of all that it depends on, see `run_id`."""
    head: str
    params: Mapping[str, Any]
    tap: str
    seed: int
    seconds: float
    """Of training. Heads trained together share their program's time in equal parts."""
    metrics: Mapping[str, Mapping[str, Any]]
    """"train" and "val": accuracy, loss, macro_f1; "test" only for a chosen run."""
    bank: str
    """`Bank.digest` of what it was trained on."""
    created: str
    together: int = 1
    """How many heads its program trained at once."""
    history: Mapping[str, Any] | None = None
    """One value an epoch, of heads that have epochs."""
    failure: str | None = None
    """Why there are no metrics."""
    notes: tuple[str, ...] = ()
    """Warnings of the library that trained it."""
    tested: str | None = None
    """When the test split was opened for it."""
    weights: str | None = None
    """The digest of the file with its weights, if they were kept."""
    fold: tuple[int, int, int] | None = None
    """Of a run on folds: which of how many, in which repetition, as (0, 5, 0); None is the bank's own split."""
    rung: tuple[int, int, int] | None = None
    """Of a run that lost a race: at which rung of how many it was stopped, after how many epochs, as (1, 3, 12)."""
    parameters: int | None = None
    """How many numbers the trained head holds, where that can be told."""
    right: str | None = None
    """Which validation images it gets right, in the bank's order of ids: packed bits, in hexadecimal."""
    graft: Mapping[str, Any] | None = None
    """The proof of its latest graft: images, difference, tolerance, layers."""
    finetune: Mapping[str, Any] | None = None
    """Of a fine-tune: from which run, phase by phase, and what was gained over it."""
    revision: int = 1
    """By which rule it was fitted; see `HeadKind.revision`."""
    views: int | None = 0
    """See `HeadSpec`, as for the next."""
    name: str = ""
    directory: Path = field(default=Path(), compare=False)
    """Of the bank; not stored."""

    @cached_property
    def spec(self) -> HeadSpec:
        """What was trained."""
        return HeadSpec(self.head, self.params, self.tap, self.views, self.name)

    @property
    def is_finetune(self) -> bool:
        """Whether its network was trained, too."""
        return self.head == FINETUNE

    @property
    def folds(self) -> int:
        """The protocol that judged it: into how many folds the images were cut, 1 for the bank's own split.

        Below 0 are folds that the dataset brings: -5 are its own five.
        """
        if not self.fold:
            return 1
        return -self.fold[1] if self.fold[2] < 0 else self.fold[1]

    @property
    def saved_path(self) -> Path:
        """Where its weights are, if they were kept; of a fine-tune, its model."""
        suffix = MODEL_SUFFIX if self.is_finetune else SUFFIX
        return self.directory / "runs" / f"{self.run}{suffix}"

    def rights(self) -> np.ndarray | None:
        """Returns which of its validation images it gets right, (n,) bool; None where the record does not tell."""
        images = self.metrics.get("val", {}).get("images")
        return None if self.right is None or images is None else unpack(self.right, images)

    @property
    def stopped(self) -> str | None:
        """Where a race ended for this run, in words; None for a run that was trained to its end."""
        return self.rung and f"stopped at rung {self.rung[0]} of {self.rung[1]}, after {counted(self.rung[2], 'epoch')}"

    def record(self) -> dict[str, Any]:
        """Returns all of the run as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "directory"}

    def summary(self) -> dict[str, Any]:
        """Returns what `heads --json` and `leaderboard --json` say of a run."""
        names = ["run", "head", "params", "tap", "views", "seed", "seconds", "metrics"]
        names += [name for name in ("name", "failure") if getattr(self, name)]
        record = self.record()
        return {name: record[name] for name in names}

    def save(self) -> None:
        """Writes the run's file atomically, with a checksum."""
        write_sealed(self.directory / "runs" / f"{self.run}.json", self.record())


def run_id(
    spec: HeadSpec, seed: int, bank: Bank, *, fold: Sequence[int] | None = None, rung: Sequence[int] | None = None
) -> str:
    """Returns the id of a run: the same wherever and whenever it is trained.

    It is made of everything that decides what a head sees and how it is trained: specification (kind, parameters, tap,
    views), seed, fold, rung, the type in which the tap is stored, the rule by which it is
    fitted, and `Bank.digest`.
    """
    recipe = {
        "spec": spec.key, "seed": seed, "bank": bank.digest, "stored": bank.tap_dtype(spec.tap),
        "fold": list(fold or ()), "rung": list(rung or ()),
        **({"revision": revision} if (revision := spec.revision) > 1 else {}),
    }  # fmt: skip
    return digest.of_recipe(recipe)[:10]


def belongs(run: Run, bank: Bank) -> bool:
    """Returns whether a run was trained on a bank as it is now."""
    return run.bank in {bank.digest, bank.former_digest}


def load_runs(bank: Bank, *, stale: bool = False, overtaken: bool = False) -> list[Run]:
    """Returns the runs of a bank as it is now.

    A file that cannot be read or is damaged is left out, as is a head that was fitted by a rule that was mended since:
    the run is trained again when it is asked for.

    Args:
        bank: where they are.
        stale: those of its older states instead.
        overtaken: also runs that were stopped at a rung of a race and went on from there.

    Raises:
        BankDamagedError: a file is as it was written, and is no record of a run.
    """
    paths = sorted((bank.path / "runs").glob("*.json"))
    every = [run for path in paths if (run := read_run(path)) is not None]
    marks = {0, _own_folds(bank) if any(run.folds < 0 for run in every) else 0}
    found = [run for run in every if (belongs(run, bank) and _mark(run) in marks) != stale]
    found = [run for run in found if run.revision == run.spec.revision]
    found = found if stale else _one_each([with_views(run, bank) for run in found], bank)
    return found if overtaken else without_overtaken(found)


def _own_folds(bank: Bank) -> int:
    """Returns the mark of the folds that a bank's dataset brings; 0 where it brings none any more."""
    try:
        return given_folds(bank)[0].repeat
    except DatasetError:
        return 0


def _mark(run: Run) -> int:
    """Returns the mark of the dataset's folds that a run was judged on; 0 where it was judged otherwise."""
    return min(run.fold[2], 0) if run.fold else 0


def with_views(run: Run, bank: Bank) -> Run:
    """Returns a run of an earlier version with the number of views that it was trained on, as far as that is known.

    Its record does not say it, but the bank's history says how many there were at that time.
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


def _one_each(runs: Sequence[Run], bank: Bank) -> list[Run]:
    """Returns one run for each specification, seed, fold and rung.

    There may be two where an image was renamed and later named as before: one of an earlier version, one of this. The
    one whose test is recorded is returned, else the later one.
    """
    found: dict[Any, Run] = {}
    for run in sorted(runs, key=lambda run: (run.tested is not None, run.bank == bank.digest)):
        found[run.head, run.spec.key, run.seed, run.fold, run.rung] = run
    return sorted(found.values(), key=lambda run: run.run)


def read_run(path: Path) -> Run | None:
    """Returns the run in a file of a bank's `runs/`; None where there is none, or it is damaged.

    Raises:
        BankDamagedError: the file is as it was written, and is no record of a run.
    """
    try:
        value = {"views": None, **read_sealed(path)}
    except (OSError, ValueError):
        return None
    check_run_record(value, path)
    tuples = {name: tuple(value[name]) for name in ("notes", "fold", "rung") if value.get(name) is not None}
    run = Run(**{**value, **tuples}, directory=path.parent.parent)
    return run if run.run == path.stem else None  # a process that was killed leaves unfinished files of other names


def without_overtaken(runs: Iterable[Run]) -> list[Run]:
    """Returns the runs without those of a race that went on to a further rung, or to the end."""
    runs = list(runs)
    racers = {(run.spec.key, run.seed, run.fold) for run in runs if run.rung}
    furthest: dict[Any, float] = {}
    if racers:
        for run in runs:
            key = run.spec.key, run.seed, run.fold
            if key in racers:
                furthest[key] = max(furthest.get(key, 0), run.rung[0] if run.rung else float("inf"))
    return [run for run in runs if not run.rung or run.rung[0] == furthest[run.spec.key, run.seed, run.fold]]
