"""Planned runs: a head, a seed, and the images that it is evaluated on."""

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
    """One of the rounds of successive halving: it trains the heads that are left for a share of their epochs.

    The best third of them continues at the next rung, anew and with three times the epochs; see
    `featurebank.grid.search`.
    """

    number: int
    """The number of the rung, from 1."""
    of: int
    """The number of rungs; at the last one, heads are trained for all their epochs."""
    epochs: int
    """The number of epochs of this rung."""

    @property
    def as_tuple(self) -> tuple[int, int, int]:
        """The rung as in a run's record."""
        return self.number, self.of, self.epochs


@dataclass(frozen=True)
class Job:
    """One planned run."""

    run: str
    """The id of the run."""
    spec: HeadSpec
    seed: int
    fold: Fold | None = None
    rung: Rung | None = None
    """None if the head is trained for all its epochs."""

    @cached_property
    def trained(self) -> HeadSpec:
        """The specification to train: at a rung, the head with fewer epochs."""
        if self.rung is None:
            return self.spec
        return self.spec.with_params({**self.spec.params, "epochs": self.rung.epochs})


def plan(specs: Iterable[HeadSpec], options: GridOptions, bank: Bank) -> list[Job]:
    """Returns the jobs of some heads: every seed on every fold; deterministic heads have one seed."""
    seeds, folds = options.seed_list(), options.fold_list(bank)
    return [
        job(spec, seed, bank, fold=fold)
        for spec in specs
        for fold in folds
        for seed in (seeds if spec.head_kind.is_random else seeds[:1])
    ]


def job(spec: HeadSpec, seed: int, bank: Bank, *, fold: Fold | None = None, rung: Rung | None = None) -> Job:
    """Returns one job, with its run's id."""
    return Job(run_id(spec, seed, bank, fold=fold, rung=rung.as_tuple if rung else None), spec, seed, fold, rung)
