"""The runs that are planned: a head, a seed, and what it is judged on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from featurebank.bank import Bank
from featurebank.fitting.folds import Fold
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.options import GridOptions
from featurebank.runs.run import run_id


@dataclass(frozen=True)
class Rung:
    """A stage of a race: heads are trained for so many epochs."""

    number: int
    """From 1."""
    of: int
    """How many rungs the race has; at the last, heads are trained to their end."""
    epochs: int

    @property
    def told(self) -> tuple[int, int, int]:
        """The rung as a run's record has it."""
        return self.number, self.of, self.epochs


@dataclass(frozen=True)
class Job:
    """One run to be made."""

    run: str
    """Its id."""
    spec: HeadSpec
    seed: int
    fold: Fold | None = None
    rung: Rung | None = None
    """None is trained to its end."""

    @cached_property
    def trained(self) -> HeadSpec:
        """What is trained: at a rung, the head with fewer epochs."""
        if self.rung is None:
            return self.spec
        return self.spec.with_params({**self.spec.params, "epochs": self.rung.epochs})


def plan(specs: Iterable[HeadSpec], options: GridOptions, bank: Bank) -> list[Job]:
    """Returns the jobs of some heads: every seed on every fold; heads without chance have one seed."""
    seeds, folds = options.chosen_seeds(), options.chosen_folds(bank)
    return [
        job(spec, seed, bank, fold=fold)
        for spec in specs
        for fold in folds
        for seed in (seeds if spec.head_kind.is_random else seeds[:1])
    ]


def job(spec: HeadSpec, seed: int, bank: Bank, *, fold: Fold | None = None, rung: Rung | None = None) -> Job:
    """Returns one job, with its run's id."""
    return Job(run_id(spec, seed, bank, fold=fold, rung=rung.told if rung else None), spec, seed, fold, rung)
