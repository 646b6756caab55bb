"""The tap `auto:BYTES`: a disk budget, which is replaced by the earliest cut point whose rows fit into it.

A tail is the part of the network after a cut. The earlier the cut, the more layers a tail can train, and usually the
larger the maps that have to be stored. Only what the request itself determines is counted (the number of images, views,
the requested taps and their dtypes), and nothing else that the bank holds: so the same request always chooses the same
cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.outline import CutPoint, Outline
from featurebank.backbone.outline_files import outline_of
from featurebank.backbone.taps import BUDGET
from featurebank.bank.pieces.waiting_rows import default_dtype
from featurebank.errors import ConfigError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.state import BankState
from featurebank.system.progress import Reporter
from featurebank.system.runtime import parse_bytes, tidy_bytes
from featurebank.words import counted


def named_taps(taps: Sequence[str]) -> tuple[str, ...]:
    """Returns the taps without a budget; if there are no others, "pooled", which every network has.

    Raises:
        ConfigError: a budget is malformed, or there is more than one.
    """
    budgets = [tap for tap in taps if is_budget(tap)]
    for tap in budgets:
        _bytes(tap)
    if len(budgets) > 1:
        message = f"the taps have {len(budgets)} budgets, {' and '.join(budgets)}: expected one"
        raise ConfigError(message)
    return tuple(tap for tap in taps if not is_budget(tap)) or (("pooled",) if budgets else ())


def within_budget(
    images: int, backbone: Backbone, options: ExtractOptions, state: BankState, *, cache: Path, reporter: Reporter
) -> ExtractOptions:
    """Replaces a budget among the taps by a cut point, and reports the choice and its reason.

    Args:
        images: the number of distinct images, broken ones included.
        backbone: the network. It is built if the cache does not hold its cut points.
        options: the options of the extraction.
        state: the state of the bank: its taps keep their dtypes, and a new tap gets as many views as the others.
        cache: the directory of the banks, which also holds the cut points of networks.
        reporter: receives the choice.

    Returns:
        The options, whose taps are all names.

    Raises:
        ConfigError: no cut point fits into the budget.
        UnknownNameError: the network has no layer of the name of another tap.
    """
    budget = next((tap for tap in options.taps if is_budget(tap)), None)
    if budget is None:
        return options
    others = tuple(tap for tap in options.taps if tap != budget)
    costs = _Costs(
        outline_of(backbone, cache), images, max(options.views, state.views), others, options.store, state.dtypes,
        backbone.spec.layers_hint,
    )  # fmt: skip
    cut = _earliest(costs, _bytes(budget))
    if cut is None:
        raise _nothing_fits(budget, backbone, costs)
    reporter.say(f"{budget}: {costs.describe(cut)}")
    return replace(options, taps=tuple(dict.fromkeys(cut.name if tap == budget else tap for tap in options.taps)))


def row_bytes(shape: Sequence[int], dtype: str | None) -> int:
    """Returns the size of one row of a tap in bytes.

    Args:
        shape: the shape of the row.
        dtype: the dtype on disk; None means `default_dtype(shape)`.
    """
    return math.prod(shape) * np.dtype(dtype or default_dtype(tuple(shape))).itemsize


@dataclass(frozen=True)
class _Costs:
    """Computes the size of taps on disk."""

    outline: Outline
    images: int
    views: int
    """The number of augmented views of each image."""
    others: tuple[str, ...]
    """The taps that are requested by name."""
    store: str | None
    stored: Mapping[str, str | None]
    """The dtypes of the taps in the bank."""
    hint: str
    """The hint of the error for an unknown layer."""

    def row(self, tap: str) -> int:
        """Returns the size of one row of a tap in bytes."""
        return row_bytes(self.outline.tap_shape(tap, self.hint), self.stored.get(tap) or self.store)

    def all_rows(self, taps: Sequence[str]) -> int:
        """Returns the size of all rows of some taps in bytes."""
        return self.images * (1 + self.views) * sum(map(self.row, taps))

    def with_others(self, cut: CutPoint) -> int:
        """Returns the size of a cut point and the other taps in bytes."""
        return self.all_rows(list(dict.fromkeys([cut.name, *self.others])))

    def describe(self, cut: CutPoint) -> str:
        """Says what a cut costs and leaves to be trained, as "conv4_block6_out (14 x 14 x 1024, ...)"."""
        parts = [
            " x ".join(map(str, cut.shape)),
            f"{tidy_bytes(self.row(cut.name))} an image",
            f"{tidy_bytes(self.all_rows([cut.name]))} for {counted(self.images, 'image')}"
            + (f" with {self.views} view{'s' * (self.views > 1)}" if self.views else ""),
            *([f"{tidy_bytes(self.all_rows(self.others))} for the other taps"] if self.others else []),
            f"{100 * cut.remaining_work:.0f} % of the multiply-adds remain",
        ]
        return f"{cut.name} ({', '.join(parts)})"


def _earliest(costs: _Costs, budget: int) -> CutPoint | None:
    """Returns the cut point that fits and has the most work after it; among equal ones, that with the smallest rows."""
    fitting = [cut for cut in costs.outline.cuts if costs.with_others(cut) <= budget]
    return max(fitting, key=lambda cut: (cut.remaining_work, -costs.row(cut.name)), default=None)


def _nothing_fits(budget: str, backbone: Backbone, costs: _Costs) -> ConfigError:
    smallest = min(costs.outline.cuts, key=costs.with_others)
    return ConfigError(
        f"{budget}: no cut of {backbone.name} fits; the smallest is {costs.describe(smallest)}: expected "
        f"{BUDGET}:{_rounded_up(costs.with_others(smallest))} or more"
    )


def is_budget(tap: str) -> bool:
    """Returns whether a tap is a budget, such as "auto:2GB"."""
    return isinstance(tap, str) and tap.partition(":")[0] == BUDGET


def _bytes(budget: str) -> int:
    return parse_bytes(budget.partition(":")[2], f"the budget of tap '{budget}'", least=1)


def _rounded_up(count: int) -> str:
    """Formats a number of bytes with three to five digits, rounded up."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= 100 * unit:
            return f"{-(-count // unit)}{name}"
    return f"{count}B"
