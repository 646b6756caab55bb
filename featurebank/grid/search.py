"""Which heads of a grid are trained to their end: all, a sample of them, or the winners of a race.

A race is successive halving over epochs. Every head that has epochs is first trained for a ninth of them; the best
third is trained anew for a third of them, and the best third of those to their end: about a third of the work of all.
What it loses: heads that start slowly (a small learning rate, a long warm-up) may be stopped although they would have
ended first, and a schedule over the epochs is run through in fewer. Heads without epochs have no such measure, and a
part of the training images would favour those that are made for few; they are trained to their end, outside the race,
and are compared with its winners alone.

References:
    Jamieson, Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from featurebank.bank import Bank
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.jobs import Job, Rung, job
from featurebank.metrics import ACCURACY, Metric
from featurebank.runs.ranking import Ranking
from featurebank.runs.run import Run
from featurebank.system import digest

KEPT = 3
"""One of so many goes on to the next rung, for so many times the epochs."""
RUNGS = 3
_LEAST_EPOCHS = KEPT ** (RUNGS - 1)


def sample(specs: Sequence[HeadSpec], count: int) -> list[HeadSpec]:
    """Returns so many of the heads at random: the same ones each time, and with a larger count more beside them."""
    chosen = sorted(specs, key=lambda spec: digest.of_recipe(["sample", spec.key]))[:count]
    keys = {spec.key for spec in chosen}
    return [spec for spec in specs if spec.key in keys]


def racers(specs: Iterable[HeadSpec]) -> list[HeadSpec]:
    """Returns the heads that have enough epochs to race; none where they are too few for a race."""
    found = [spec for spec in specs if spec.epochs >= _LEAST_EPOCHS]
    return found if len(found) >= KEPT else []


def rung_jobs(jobs: Iterable[Job], number: int, bank: Bank) -> list[Job]:
    """Returns the jobs of a rung for those that train the same heads to their end."""
    share: int = KEPT ** (RUNGS - number)
    return [
        job(j.spec, j.seed, bank, fold=j.fold, rung=Rung(number, RUNGS, max(1, j.spec.epochs // share))) for j in jobs
    ]


def winners(jobs: Sequence[Job], runs: Mapping[str, Run], *, metric: Metric = ACCURACY) -> list[HeadSpec]:
    """Returns the heads that go on from a rung, in the order of the leaderboard; heads that failed do not go on."""
    specs = {job.spec.key: job.spec for job in jobs}
    failed = {job.spec.key for job in jobs if runs[job.run].failure}
    protocol = jobs[0].fold.protocol if jobs and jobs[0].fold else 1
    ranking = Ranking((replace(runs[job.run], rung=None) for job in jobs), folds=protocol, metric=metric)
    whole = [specs[group.spec.key] for group in ranking.top() if group.spec.key not in failed]
    return whole[: -(-len(specs) // KEPT)]
