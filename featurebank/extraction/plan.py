"""Plans extractions: which rows a bank lacks, which of them other banks of the cache have, and which are computed.

A row is the features of one image at one tap in one view; images are known by the digests of their contents. The
extraction itself, a dry run and the plan of a pipeline all call this module, so that a dry run predicts exactly what
the extraction will do. A pipeline plans several extractions before it starts the first: `Planner` plans each of them as
if those before it were done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.taps import parse_tap
from featurebank.bank.catalog import locate_bank
from featurebank.bank.index import contained
from featurebank.bank.maintenance.sharing import ShareableShard, find_rows, may_share
from featurebank.errors import BankWarning, ConfigError
from featurebank.extraction.cut_budget import row_bytes, within_budget
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.state import NO_DIGESTS, BankState, read_state
from featurebank.system import digest
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True)
class ExtractionJob:
    """Rows to compute for one bank: some taps of some images in one view."""

    bank: int
    """The number of the bank among those that are filled together."""
    taps: tuple[str, ...]
    view: int
    digests: np.ndarray
    """The content digests of the images: (n,) "S32", sorted."""


@dataclass(frozen=True)
class BankPlan:
    """What an extraction does to one bank."""

    path: Path
    state: BankState
    """The state of the bank before the extraction."""
    taps: tuple[str, ...]
    """The taps of the bank after the extraction. A new image gets all of them, those of earlier requests, too."""
    views: int
    """The number of augmented views of the bank after the extraction."""
    dtypes: Mapping[str, str | None]
    """The dtype on disk of each tap; None means `default_dtype` of its shape."""
    images: np.ndarray
    """The content digests of the requested images, which then have all rows: (n,) "S32", sorted and distinct."""
    shared: Sequence[ShareableShard] = ()
    """The shards of other banks that hold rows which this bank lacks."""
    jobs: Sequence[ExtractionJob] = ()
    """The rows to compute."""
    follows: bool = False
    """Whether extractions that were planned earlier will compute some of the rows that the bank lacks now."""

    @property
    def rows(self) -> int:
        """The number of inputs that the network is run on: one for each image in each view."""
        return sum(len(job.digests) for job in self.jobs)

    @property
    def shared_rows(self) -> Counter[str]:
        """The number of rows that are shared with each other bank, by the name of that bank."""
        return sum((Counter({one.bank.name: one.shard.rows}) for one in self.shared), Counter())

    def bytes(self, shape: Callable[[str], Sequence[int]]) -> int:
        """Returns the number of bytes of features to write; shared rows take none.

        Args:
            shape: returns the shape of one row of a tap.
        """
        rows = Counter[str]()
        for job in self.jobs:
            rows.update(dict.fromkeys(job.taps, len(job.digests)))
        return sum(count * row_bytes(shape(tap), self.dtypes[tap]) for tap, count in rows.items())

    def state_after(self) -> BankState:
        """Returns the state of the bank after the extraction."""
        keys = {*self.state.rows, *((tap, view) for tap in self.taps for view in range(self.views + 1))}
        rows = {
            (tap, view): np.concatenate([
                self.state.rows.get((tap, view), NO_DIGESTS),
                self.images if tap in self.taps and view <= self.views else NO_DIGESTS,
            ])
            for tap, view in keys
        }  # fmt: skip
        return replace(self.state, taps=self.taps, views=self.views, dtypes=self.dtypes, rows=rows)


def plan_bank(
    path: Path,
    state: BankState,
    options: ExtractOptions,
    images: np.ndarray,
    *,
    number: int = 0,
    neighbours: bool = True,
    earlier: Iterable[BankState] = (),
    warn: Callable[[str], None] = lambda line: None,
) -> BankPlan:
    """Decides what an extraction into one bank does, and changes nothing.

    Args:
        path: the directory of the bank, which need not exist.
        state: the state of the bank.
        options: the options of the extraction; its taps are names, without a disk budget.
        images: the content digests of the requested images, (n,) "S32", sorted and distinct.
        number: the number of the bank among those that are filled together.
        neighbours: whether to search the other banks of the cache for rows.
        earlier: the states of other banks after the extractions that were planned earlier.
        warn: called with one line for each bank that the system cannot read.

    Raises:
        ConfigError: a requested tap is already stored with another dtype than `options.store`.
    """
    _check_store(state, options)
    taps = tuple(dict.fromkeys((*state.taps, *options.taps)))
    views = max(state.views, options.views)
    dtypes = {**state.dtypes, **{tap: _dtype(tap, state, options) for tap in taps}}
    lacking: Mapping[tuple[str, int], np.ndarray] = {
        (tap, view): images[~contained(images, state.rows.get((tap, view), NO_DIGESTS))]
        for tap in taps
        for view in range(views + 1)
    }
    shared: list[ShareableShard] = []
    if neighbours:
        shared, lacking = find_rows(path, state.recipe, lacking, dtypes, warn)
    rest = _without_rows_of(earlier, lacking, state.recipe, dtypes)
    follows = _count(rest) < _count(lacking)
    return BankPlan(path, state, taps, views, dtypes, images, shared, _jobs(number, taps, rest), follows=follows)


def _count(lacking: Mapping[Any, np.ndarray]) -> int:
    return sum(map(len, lacking.values()))


def _jobs(number: int, taps: Sequence[str], lacking: Mapping[tuple[str, int], np.ndarray]) -> list[ExtractionJob]:
    """Returns the jobs that compute the missing rows, in the order of the views."""
    return [
        ExtractionJob(number, group, view, digests)
        for view in sorted({view for _, view in lacking})
        for group, digests in group_by_taps({tap: lacking.get((tap, view), NO_DIGESTS) for tap in taps}).items()
    ]


class Planner:
    """Plans several extractions into the banks of a cache, each as if the earlier ones were done.

    Args:
        cache: the directory of the banks.
        reporter: receives the chosen cut point of a disk budget, and warnings.
    """

    def __init__(self, cache: Path, reporter: Reporter = SILENT) -> None:
        self._cache, self._reporter = cache, reporter
        self._after: dict[Path, BankState] = {}
        self._filled: set[Path] = set()  # the banks for which an earlier plan computes rows

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
            dataset: the name of the dataset.
            images: the content digests of its distinct images, (n,) "S32", sorted.
            backbones: the networks whose features are computed in one pass over the images.
            options: the options of the extraction.
            downloads: the files that have to be downloaded first.

        Raises:
            ConfigError: a requested tap is already stored with another dtype, or no cut point fits the disk budget.
            BankDamagedError: the manifest of a bank is damaged.
        """
        # Missing files have no digest yet. With this entry, the recipe matches no bank on disk.
        unknown = {"downloads": sorted(downloads)} if downloads else {}
        recipes = [{**options.recipe(backbone), **unknown} for backbone in backbones]
        paths = [locate_bank(self._cache, dataset, recipe) for recipe in recipes]
        states = [self._after.get(p) or read_state(p, recipe) for p, recipe in zip(paths, recipes, strict=True)]
        good = images[~np.isin(images, np.concatenate([state.bad for state in states]))]
        plans = []
        for path, backbone, state in zip(paths, backbones, states, strict=True):
            named = within_budget(len(images), backbone, options, state, cache=self._cache, reporter=self._reporter)
            earlier = [after for place, after in self._after.items() if place != path]
            warn = partial(self._reporter.warn, kind=BankWarning)
            plan = plan_bank(path, state, named, good, earlier=earlier, warn=warn)
            plans.append(replace(plan, follows=plan.follows or path in self._filled))
        self._filled |= {plan.path for plan in plans if plan.rows}
        self._after |= {plan.path: plan.state_after() for plan in plans}
        return plans


def group_by_taps(lacking: Mapping[str, np.ndarray]) -> dict[tuple[str, ...], np.ndarray]:
    """Groups images by the taps that they lack, so that one forward pass computes all taps that an image needs.

    Args:
        lacking: for each tap, the digests of the images that lack it, (n,) "S32".

    Returns:
        For each combination of taps, the digests of the images that lack exactly these, sorted.
    """
    images = digest.distinct(np.concatenate(list(lacking.values())))
    lacks = np.stack([contained(images, digests) for digests in lacking.values()], axis=1)
    return {
        tuple(tap for tap, one in zip(lacking, pattern, strict=True) if one): images[(lacks == pattern).all(axis=1)]
        for pattern in np.unique(lacks, axis=0)
    }


def _dtype(tap: str, state: BankState, options: ExtractOptions) -> str | None:
    """Returns the dtype of a tap on disk; None if it depends on the shape of the tap, which is not known here."""
    requested = options.store if tap in options.taps else None
    return state.dtypes.get(tap) or requested or ("float32" if parse_tap(tap).is_vector else None)


def _check_store(state: BankState, options: ExtractOptions) -> None:
    """Raises ConfigError if a requested tap is already stored with another dtype than `options.store`."""
    for tap in options.taps:
        stored = state.dtypes.get(tap)
        if stored and options.store and stored != options.store:
            message = (
                f"tap '{tap}' is stored as {stored} in this bank, but --store is {options.store}: omit --store, or "
                "remove the bank with 'featurebank cache rm'"
            )
            raise ConfigError(message)


def _without_rows_of(
    banks: Iterable[BankState],
    lacking: Mapping[tuple[str, int], np.ndarray],
    recipe: Mapping[str, Any],
    dtypes: Mapping[str, str | None],
) -> Mapping[tuple[str, int], np.ndarray]:
    """Returns the missing rows without those that can be shared with other banks in their given states."""
    left = dict(lacking)
    for other in banks:
        for (tap, view), digests in left.items():
            if may_share(other.recipe, recipe, view) and other.dtypes.get(tap, "") == dtypes[tap]:
                left[tap, view] = digests[~contained(digests, other.rows.get((tap, view), NO_DIGESTS))]
    return left
