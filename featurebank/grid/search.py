"""Search strategies: a random sample of a grid, or successive halving.

Successive halving ("race") works over epochs. It first trains every head with epochs for a ninth of them, then the best
third again for a third of them, and the best third of those for all epochs: about a third of the total work. Its
drawbacks: heads that start slowly (a small learning rate, a long warm-up) may be stopped although they would have
ranked first, and a schedule over the epochs is shortened. Heads without epochs do not take part, because a subset of
the training images would favour heads for small data; they are trained fully, and compared only with the winners.

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
from featurebank.runs.run import RunRecord
from featurebank.system import digest

KEPT = 3
"""One in so many heads continues at the next rung, with so many times the epochs."""
RUNGS = 3
"""The number of rungs; see `featurebank.grid.jobs.Rung`."""
_LEAST_EPOCHS = KEPT ** (RUNGS - 1)


def sample(specs: Sequence[HeadSpec], count: int) -> list[HeadSpec]:
    """Returns a random sample of the heads: always the same one; a larger sample contains each smaller one."""
    selection = sorted(specs, key=lambda spec: digest.of_recipe(["sample", spec.key]))[:count]
    keys = {spec.key for spec in selection}
    return [spec for spec in specs if spec.key in keys]


def racers(specs: Iterable[HeadSpec]) -> list[HeadSpec]:
    """Returns the heads with enough epochs for successive halving; none if there are too few such heads."""
    racing = [spec for spec in specs if spec.epochs >= _LEAST_EPOCHS]
    return racing if len(racing) >= KEPT else []


def rung_jobs(jobs: Iterable[Job], number: int, bank: Bank) -> list[Job]:
    """Returns the jobs of a rung for jobs that train the same heads for all epochs."""
    share: int = KEPT ** (RUNGS - number)
    return [
        job(j.spec, j.seed, bank, fold=j.fold, rung=Rung(number, RUNGS, max(1, j.spec.epochs // share))) for j in jobs
    ]


def winners(jobs: Sequence[Job], runs: Mapping[str, RunRecord], *, metric: Metric = ACCURACY) -> list[HeadSpec]:
    """Returns the heads that continue after a rung, in the order of the leaderboard, without failed heads."""
    specs = {job.spec.key: job.spec for job in jobs}
    failed = {job.spec.key for job in jobs if runs[job.run].failure}
    protocol = jobs[0].fold.protocol if jobs and jobs[0].fold else 1
    ranking = Ranking((replace(runs[job.run], rung=None) for job in jobs), folds=protocol, metric=metric)
    whole = [specs[group.spec.key] for group in ranking.top() if group.spec.key not in failed]
    return whole[: -(-len(specs) // KEPT)]
