"""What an extraction would do, decided in one place: for the extraction itself, a dry run and a pipeline's plan.

From the images, the options and the rows of the cache follow the rows that a bank lacks, those that other banks share,
and the jobs that compute the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.taps import parse_tap
from featurebank.bank.catalog import locate_bank
from featurebank.bank.index import contained
from featurebank.bank.maintenance.sharing import Found, find_rows, may_share
from featurebank.errors import ConfigError
from featurebank.extraction.cut_budget import row_bytes, within_budget
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.state import NO_DIGESTS, BankState, read_state
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True)
class ExtractionJob:
    """Some taps of some images in one view, to be computed for one bank."""

    bank: int
    """Which one, among those that are extracted together."""
    taps: tuple[str, ...]
    view: int
    digests: np.ndarray
    """(n,) "S32", sorted."""


@dataclass(frozen=True)
class BankPlan:
    """What an extraction does to one bank."""

    path: Path
    state: BankState
    """What the bank has before."""
    taps: tuple[str, ...]
    """All that its images have afterwards: a new image gets every tap of the bank, so that none falls behind."""
    views: int
    types: Mapping[str, str | None]
    """The type on disk of each tap; None is `default_dtype`'s."""
    images: np.ndarray
    """The distinct images that have all rows afterwards, (n,) "S32", sorted."""
    shared: Sequence[Found] = ()
    """Shards of other banks that are taken."""
    jobs: Sequence[ExtractionJob] = ()
    """What is computed."""
    promised: bool = False
    """Whether some rows that the bank lacks now are made by extractions that were planned before."""

    @property
    def rows(self) -> int:
        """How many rows are computed: an image has one, and one for each view."""
        return sum(len(job.digests) for job in self.jobs)

    @property
    def adopted(self) -> Counter[str]:
        """How many rows are taken from each other bank."""
        return sum((Counter({one.bank.name: one.shard.rows}) for one in self.shared), Counter())

    def bytes(self, shape: Callable[[str], Sequence[int]]) -> int:
        """Returns how many bytes of features are written; rows that are shared take none.

        Args:
            shape: returns the shape of one row of a tap.
        """
        rows = Counter[str]()
        for job in self.jobs:
            rows.update(dict.fromkeys(job.taps, len(job.digests)))
        return sum(count * row_bytes(shape(tap), self.types[tap]) for tap, count in rows.items())

    def state_after(self) -> BankState:
        """Returns what the bank has once this is done."""
        keys = {*self.state.rows, *((tap, view) for tap in self.taps for view in range(self.views + 1))}
        rows = {
            (tap, view): np.concatenate([
                self.state.rows.get((tap, view), NO_DIGESTS),
                self.images if tap in self.taps and view <= self.views else NO_DIGESTS,
            ])
            for tap, view in keys
        }  # fmt: skip
        return replace(self.state, taps=self.taps, views=self.views, types=self.types, rows=rows)


def plan_bank(
    path: Path,
    state: BankState,
    options: ExtractOptions,
    images: np.ndarray,
    *,
    number: int = 0,
    neighbours: bool = True,
    promised: Iterable[BankState] = (),
    warn: Callable[[str], None] = lambda line: None,
) -> BankPlan:
    """Decides what an extraction into one bank does.

    Args:
        path: where the bank lies, whether it is there or not.
        state: what it has.
        options: what is asked for, the taps by name.
        images: the images that are to have all rows, (n,) "S32", sorted and distinct.
        number: of the bank, among those that are extracted together.
        neighbours: whether other banks of the cache are looked at for rows.
        promised: what other banks will have by then, beside what they have on disk.
        warn: called with a line for each bank that the system cannot read.

    Raises:
        ConfigError: a tap is stored in another type than is asked for.
    """
    _refuse_other_type(state, options)
    taps = tuple(dict.fromkeys((*state.taps, *options.taps)))
    views = max(state.views, options.views)
    types = {**state.types, **{tap: _type(tap, state, options) for tap in taps}}
    left: Mapping[tuple[str, int], np.ndarray] = {
        (tap, view): images[~contained(images, state.rows.get((tap, view), NO_DIGESTS))]
        for tap in taps
        for view in range(views + 1)
    }
    shared: list[Found] = []
    if neighbours:
        shared, left = find_rows(path, state.recipe, left, types, warn)
    rest = _without_promised(left, promised, state.recipe, types)
    return BankPlan(
        path, state, taps, views, types, images, shared, _jobs(number, taps, rest), promised=_rows(rest) < _rows(left)
    )


def _rows(lacking: Mapping[Any, np.ndarray]) -> int:
    return sum(map(len, lacking.values()))


def _jobs(number: int, taps: Sequence[str], lacking: Mapping[tuple[str, int], np.ndarray]) -> list[ExtractionJob]:
    """Returns what computes the rows that are lacking, view by view."""
    return [
        ExtractionJob(number, group, view, digests)
        for view in sorted({view for _, view in lacking})
        for group, digests in group_by_taps({tap: lacking.get((tap, view), NO_DIGESTS) for tap in taps}).items()
    ]


class Planner:
    """Plans extractions into the banks of a cache, each as if those planned before were done.

    Args:
        cache: where banks lie.
        reporter: receives the choice of a cut point, and warnings.
    """

    def __init__(self, cache: Path, reporter: Reporter = SILENT) -> None:
        self._cache, self._reporter = cache, reporter
        self._after: dict[Path, BankState] = {}
        self._filled: set[Path] = set()  # banks for which something is computed

    def plan(
        self,
        dataset: str,
        images: np.ndarray,
        backbones: Sequence[Backbone],
        options: ExtractOptions,
        *,
        downloads: Sequence[str] = (),
    ) -> list[BankPlan]:
        """Decides what one extraction does to the bank of each backbone, and changes nothing.

        Args:
            dataset: its name.
            images: its distinct images, (n,) "S32", sorted.
            backbones: the networks that are extracted together.
            options: what is asked for.
            downloads: what has to be downloaded first; where there is something, the bank cannot be there yet.

        Raises:
            ConfigError: a tap is stored in another type than is asked for, or no cut point fits into the budget.
            BankDamagedError: the manifest of a bank is damaged.
        """
        waits = {"downloads": sorted(downloads)} if downloads else {}
        recipes = [{**options.recipe(backbone), **waits} for backbone in backbones]
        paths = [locate_bank(self._cache, dataset, recipe) for recipe in recipes]
        states = [self._after.get(p) or read_state(p, recipe) for p, recipe in zip(paths, recipes, strict=True)]
        good = images[~np.isin(images, np.concatenate([state.bad for state in states]))]
        plans = []
        for path, backbone, state in zip(paths, backbones, states, strict=True):
            named = within_budget(len(images), backbone, options, state, cache=self._cache, reporter=self._reporter)
            promised = [after for place, after in self._after.items() if place != path]
            plan = plan_bank(path, state, named, good, promised=promised, warn=self._reporter.warn)
            plans.append(replace(plan, promised=plan.promised or path in self._filled))
        self._filled |= {plan.path for plan in plans if plan.rows}
        self._after |= {plan.path: plan.state_after() for plan in plans}
        return plans


def group_by_taps(lacking: Mapping[str, np.ndarray]) -> dict[tuple[str, ...], np.ndarray]:
    """Decides which images need which taps.

    Args:
        lacking: for each tap the digests of the images that lack it, (n,) "S32".

    Returns:
        For each set of taps to compute in one pass, the images that lack just those, sorted.
    """
    images = np.unique(np.concatenate(list(lacking.values())))
    lacks = np.stack([contained(images, digests) for digests in lacking.values()], axis=1)
    return {
        tuple(tap for tap, one in zip(lacking, pattern, strict=True) if one): images[(lacks == pattern).all(axis=1)]
        for pattern in np.unique(lacks, axis=0)
    }


def _type(tap: str, state: BankState, options: ExtractOptions) -> str | None:
    """Returns the type in which a tap is stored; None where its shape decides, which is not known here."""
    asked = options.store if tap in options.taps else None
    _, pooling = parse_tap(tap)
    return state.types.get(tap) or asked or ("float32" if pooling else None)


def _refuse_other_type(state: BankState, options: ExtractOptions) -> None:
    """Raises ConfigError where a tap is stored in another type than is asked for."""
    for tap in options.taps:
        stored = state.types.get(tap)
        if stored and options.store and stored != options.store:
            message = (
                f"tap '{tap}' is stored as {stored} in this bank, --store asks for {options.store}: leave "
                "--store out, or forget the bank with 'featurebank cache rm'"
            )
            raise ConfigError(message)


def _without_promised(
    lacking: Mapping[tuple[str, int], np.ndarray],
    promised: Iterable[BankState],
    recipe: Mapping[str, Any],
    types: Mapping[str, str | None],
) -> Mapping[tuple[str, int], np.ndarray]:
    """Returns what is still lacking once other banks have what they will have."""
    left = dict(lacking)
    for other in promised:
        for (tap, view), digests in left.items():
            if may_share(other.recipe, recipe, view) and other.types.get(tap, "") == types[tap]:
                left[tap, view] = digests[~contained(digests, other.rows.get((tap, view), NO_DIGESTS))]
    return left


def schedule(jobs: Sequence[ExtractionJob]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts the jobs in the order of the images, so that each image is decoded once for all of them.

    Returns:
        The distinct digests (m,) "S32", sorted; the numbers of the jobs (n,), those of the first digest first; and
        where the jobs of each digest begin and end among these, (m + 1,).
    """
    digests = np.concatenate([np.empty(0, "S32"), *(job.digests for job in jobs)])
    numbers = np.repeat(np.arange(len(jobs)), [len(job.digests) for job in jobs])
    distinct, which = np.unique(digests, return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(distinct) + 1))
    return distinct, numbers[order], bounds
