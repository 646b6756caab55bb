"""`auto:BYTES` among the taps: the earliest cut point whose rows a disk budget has room for.

The earlier a tail starts, the more of the network can be trained, and the larger the maps mostly are that have to be
stored. What is counted is what the request alone decides, so that the same request picks the same cut again: every
image of the dataset in each view, in the type on disk, of the cut and of the other taps that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.cuts import CutPoint
from featurebank.backbone.outline import Outline, outline_of
from featurebank.backbone.taps import BUDGET
from featurebank.bank.writer import default_dtype
from featurebank.errors import ConfigError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.state import BankState
from featurebank.system.progress import Reporter
from featurebank.system.runtime import parse_bytes, tidy_bytes
from featurebank.words import counted


def named_taps(taps: Sequence[str]) -> tuple[str, ...]:
    """Returns the taps that have a name of their own; "pooled", which every network has, where there is none.

    Raises:
        ConfigError: a budget is malformed, or there are two.
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
    """Replaces a budget among the taps by the cut that it allows, and tells which and why.

    Args:
        images: how many distinct ones there are, broken ones among them.
        backbone: the network; it is built where the cache does not remember its cut points.
        options: what is asked for.
        state: what the bank has: its types, which taps keep, and its number of views, which a new tap gets, too.
        cache: where the layers of networks are remembered.
        reporter: where the choice is told.

    Returns:
        The options with names alone.

    Raises:
        ConfigError: no cut fits.
        UnknownNameError: another tap is of no layer.
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
    """Returns the bytes of one row of a tap.

    Args:
        shape: of the row.
        dtype: in which it is stored; None is `default_dtype`'s.
    """
    return math.prod(shape) * np.dtype(dtype or default_dtype(tuple(shape))).itemsize


@dataclass(frozen=True)
class _Costs:
    """What taps take on disk."""

    outline: Outline
    images: int
    views: int
    """Of each image beside the clean one."""
    others: tuple[str, ...]
    """The taps that are asked for by name."""
    store: str | None
    stored: Mapping[str, str | None]
    """The types of the taps that the bank has."""
    hint: str

    def row(self, tap: str) -> int:
        """Returns the bytes of one row of a tap."""
        return row_bytes(self.outline.tap_shape(tap, self.hint), self.stored.get(tap) or self.store)

    def all_rows(self, taps: Sequence[str]) -> int:
        """Returns the bytes of all rows of some taps."""
        return self.images * (1 + self.views) * sum(map(self.row, taps))

    def with_others(self, cut: CutPoint) -> int:
        """Returns the bytes of a cut and of the other taps."""
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
    """Returns the cut after which most work remains, of those with as much the one with the smallest rows."""
    fitting = [cut for cut in costs.outline.cuts if costs.with_others(cut) <= budget]
    return max(fitting, key=lambda cut: (cut.remaining_work, -costs.row(cut.name)), default=None)


def _nothing_fits(budget: str, backbone: Backbone, costs: _Costs) -> ConfigError:
    smallest = min(costs.outline.cuts, key=costs.with_others)
    return ConfigError(
        f"{budget}: no cut of {backbone.name} fits; the smallest is {costs.describe(smallest)}: expected "
        f"{BUDGET}:{_rounded_up(costs.with_others(smallest))} or more"
    )


def is_budget(tap: str) -> bool:
    """Tells whether a tap is a budget, as "auto:2GB"."""
    return isinstance(tap, str) and tap.partition(":")[0] == BUDGET


def _bytes(budget: str) -> int:
    return parse_bytes(budget.partition(":")[2], f"the budget of tap '{budget}'", least=1)


def _rounded_up(count: int) -> str:
    """Writes a number of bytes with three to five digits, never less than it is."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= 100 * unit:
            return f"{-(-count // unit)}{name}"
    return f"{count}B"
