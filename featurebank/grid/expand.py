"""Expands a grid into specifications of heads, and checks each as far as possible without training."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featurebank.backbone.taps import TOKENS
from featurebank.bank import Bank
from featurebank.errors import ConfigError, FeatureBankError, HeadError, HeadInputError
from featurebank.fitting.joined.parts import resolve
from featurebank.fitting.joined.rows import canonical_tap, feature_rows
from featurebank.fitting.joined.text import is_joined
from featurebank.fitting.spec import HeadSpec
from featurebank.grid.files import NOT_PARAMETERS, Grid, GridBlock, read_blocks
from featurebank.grid.recorded_values import recorded_params, unrecordable
from featurebank.grid.tails import Tails
from featurebank.heads.kinds import HeadKind
from featurebank.heads.needs import MAPS, MAPS_AT_A_CUT, VECTORS
from featurebank.system.progress import SILENT, Reporter
from featurebank.training.class_weights import CLASS_WEIGHT, class_numbers, weights_of_classes
from featurebank.training.common_parameters import CALIBRATE, IGNORE, SAMPLE_WEIGHT, USE, uncalibrated
from featurebank.words import counted, problem_lines, shown

_JOINED = {"standardize": False}
"""The default on joined taps, of heads that standardise: it would undo the weights of the parts."""
_ROWS, _MAP = 2, 3
"""Number of axes of a row of tokens, and of a map."""


def expand(
    grid: Grid, bank: Bank, taps: Sequence[str] | None = None, *, views: int | None = None, sample: int | None = None,
    reporter: Reporter = SILENT,
) -> list[HeadSpec]:  # fmt: skip
    """Returns the distinct specifications of a grid.

    Args:
        grid: the grid.
        bank: the bank with the taps.
        taps: the taps for heads that name none themselves; default "pooled", or the bank's first tap.
        views: the number of augmented views for heads with epochs; default: all views of the bank.
        sample: the number of training images; default: all.
        reporter: receives a line if a grid contains the same head twice.

    Raises:
        ConfigError: the grid has errors; the message has all of them, each with its line in a file.
    """
    return expand_on(grid, [bank], taps, views=views, sample=sample, reporter=reporter)[0]


def expand_on(
    grid: Grid, banks: Sequence[Bank], taps: Sequence[str] | None = None, *, views: int | None = None,
    sample: int | None = None, reporter: Reporter = SILENT,
) -> list[list[HeadSpec]]:  # fmt: skip
    """Returns the distinct specifications of a grid for each bank, without the heads that only others can hold.

    Args:
        grid: the grid.
        banks: the banks.
        taps: see `expand`.
        views: the number of augmented views.
        sample: the number of training images.
        reporter: also receives a line for each bank that leaves out heads.

    Raises:
        ConfigError: the grid has errors, or a head that no bank can hold.
    """
    blocks, problems = read_blocks(grid)
    if not blocks and not problems:
        message = "the grid is empty: expected at least one head, such as {'kind': 'softmax'}"
        raise ConfigError(message)
    tables = [_Heads(bank, taps, _checked_views(views, bank), sample) for bank in banks]
    for block in blocks:
        wrong = block.problems()
        kind, names = _kind(block)
        wrong += names.values()
        tried = [table.try_block(block, kind, set(names)) for table in tables]
        for heads in zip(*tried, strict=True):
            if all(isinstance(head, list) for head in heads):  # the first bank's problems stand for those of all
                wrong += heads[0]
        problems += wrong
        twice = [table.add(heads) for table, heads in zip(tables, tried, strict=True)]
        if twice[0] and not wrong:
            reporter.say(
                f"{block.at()}{twice[0]} of {counted(len(tried[0]), 'head')} {'is' if twice[0] == 1 else 'are'} "
                "already in the grid: each head is trained once"
            )
    if problems:
        raise ConfigError(problem_lines(problems))
    for table in tables:
        table.report_gaps(reporter)
    return [list(table.specs.values()) for table in tables]


class _Heads:
    """The heads of a grid for one bank; the arguments are those of `expand`."""

    def __init__(self, bank: Bank, taps: Sequence[str] | None, views: int, sample: int | None) -> None:
        self._bank, self._taps, self._views, self._sample = bank, taps or [default_tap(bank)], views, sample
        self._tails = Tails(bank)
        self._left_out: list[str] = []
        self.specs: dict[str, HeadSpec] = {}
        """The distinct heads by their keys."""

    def try_block(self, block: GridBlock, kind: HeadKind | None, wrong: Collection[str]) -> list[HeadSpec | list[str]]:
        """Returns each head of a block, or its problems; the order is the same for each bank."""
        heads = []
        for head in _specs(block, self._bank, self._taps, self._tails, kind=kind, wrong=wrong):
            if isinstance(head, HeadSpec):
                head = replace(head, views=self._views if head.head_kind.is_neural else 0, sample=self._sample)  # noqa: PLW2901
                head = replace(head, name=head.name or _name(self.specs, head))  # noqa: PLW2901
                problems = list(_without_views(head, self._bank))
                head = [f"{block.at('tap')}{line}" for line in problems] if problems else head  # noqa: PLW2901
            heads.append(head)
        return heads

    def add(self, heads: Sequence[HeadSpec | list[str]]) -> int:
        """Adds the heads of a block; returns how many were in the grid already."""
        specs = [head for head in heads if isinstance(head, HeadSpec)]
        self._left_out += [head[0] for head in heads if isinstance(head, list) and head]
        twice = len(specs) - len({spec.key for spec in specs} - set(self.specs))
        self.specs.update({spec.key: spec for spec in specs})
        return twice

    def report_gaps(self, reporter: Reporter) -> None:
        """Reports in one line the heads that other banks can hold, and this one cannot."""
        if reasons := dict.fromkeys(self._left_out):
            more = f" (and {counted(len(reasons) - 1, 'other reason')})" if len(reasons) > 1 else ""
            reporter.say(
                f"'{self._bank.name}' leaves out {counted(len(self._left_out), 'head')}: {next(iter(reasons))}{more}"
            )


def _name(specs: Mapping[str, HeadSpec], spec: HeadSpec) -> str:
    """Returns the name that an earlier block set for the same head."""
    return specs[spec.key].name if spec.key in specs else ""


def _without_views(spec: HeadSpec, bank: Bank) -> Iterator[str]:
    """Yields the problems of a head on a joined tap with the views of its parts."""
    if is_joined(spec.tap, bank.taps):
        yield from resolve(bank, spec.tap).problems_with_views(spec.views or 0)


def _checked_views(views: int | None, bank: Bank) -> int:
    if views is None:
        return bank.views
    if type(views) is not int or not 0 <= views <= bank.views:
        has = counted(bank.views, "view")
        message = f"views is {views!r}, but '{bank.name}' has {has}: expected 0 to {bank.views}, or extract more"
        raise ConfigError(message)
    return views


def default_tap(bank: Bank) -> str:
    """Returns the default tap of heads: "pooled", or the bank's first tap."""
    return "pooled" if "pooled" in bank.taps else bank.taps[0]


def _specs(
    block: GridBlock, bank: Bank, taps: Sequence[str], tails: Tails, *, kind: HeadKind | None, wrong: Collection[str]
) -> Iterator[HeadSpec | list[str]]:
    """Yields each head of a block, or its problems; unknown parameters (`wrong`) are not checked further."""
    for values in block.combinations():
        params = {name: value for name, value in values.items() if name not in {*NOT_PARAMETERS, *wrong}}
        if kind and kind.needs == MAPS_AT_A_CUT:
            try:
                params = tails.filled(params)
            except FeatureBankError as error:
                yield [f"{block.at('kind')}head '{kind.name}': {error}"]
                continue
            values = {"tap": tails.tap(params), **values}  # noqa: PLW2901 - the default, if it names no tap
        for tap in [values["tap"]] if "tap" in values else taps:
            messages: dict[str, str] = {}
            for name, text in _problems(kind, params, tap, bank, tails):
                messages.setdefault(name, text)  # only the first problem: the others may follow from it
            if kind and not messages:
                name = str(values.get("name", "")).strip()
                numbered = {**params, CLASS_WEIGHT: class_numbers(params.get(CLASS_WEIGHT), bank.classes)}
                named = numbered if CLASS_WEIGHT in params else params
                own = kind.full_params({**(_JOINED if _is_scaled(kind, tap, bank) else {}), **named})
                recorded = recorded_params(own, bank.classes)
                yield HeadSpec(kind.name, recorded, canonical_tap(bank, tap), name=name, classes=tuple(bank.classes))
            else:
                yield [f"{block.at(name)}{line}" for name, text in messages.items() for line in text.splitlines()]


def _is_scaled(kind: HeadKind, tap: str, bank: Bank) -> bool:
    """Returns whether a head standardises features by default that are scaled already, as those of a joined tap."""
    return is_joined(tap, bank.taps) and kind.default_params.get("standardize") is True


def _kind(block: GridBlock) -> tuple[HeadKind | None, dict[str, str]]:
    """Returns the kind of a block's heads, or None, and a message for each wrong name."""
    name = block.values.get("kind")
    if not isinstance(name, str):
        return None, {}
    try:
        kind = HeadSpec(name, {}).head_kind
        wrong = kind.wrong_names([name for name in block.values if name not in NOT_PARAMETERS])
    except ConfigError as error:
        return None, {"kind": f"{block.at('kind')}{error}"}
    return kind, {name: f"{block.at(name)}{error}" for name, error in wrong.items()}


def _wrong_common(kind: HeadKind, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the problems of the parameters that every kind of head takes."""
    from featurebank.heads.calibration import METHODS

    if params.get(CALIBRATE) not in (None, *METHODS):
        value = params[CALIBRATE]
        yield CALIBRATE, f"head '{kind.name}': calibrate is {value!r}: expected 'temperature', or leave it out"
    if params.get(SAMPLE_WEIGHT) not in (None, USE, IGNORE):
        value = shown(params[SAMPLE_WEIGHT])
        yield SAMPLE_WEIGHT, f"head '{kind.name}': {SAMPLE_WEIGHT} is {value}: expected '{USE}' or '{IGNORE}'"


def _problems(
    kind: HeadKind | None, params: Mapping[str, Any], tap: Any, bank: Bank, tails: Tails
) -> Iterator[tuple[str, str]]:
    """Yields the key and the text of each problem of one head; `kind` is None if its problem is reported already."""
    shape = None
    try:
        if not isinstance(tap, str):
            message = f"tap is {shown(tap)}: expected one of {', '.join(bank.taps)}"
            raise ConfigError(message)
        shape = feature_rows(bank, tap).tap_shape(tap)
    except FeatureBankError as error:
        if not (kind and kind.needs == MAPS_AT_A_CUT and tap == tails.tap(params)):  # `tails` reports more about a cut
            yield "tap", str(error)
    if kind is None:
        return
    try:
        head = kind.make(uncalibrated(params))
    except ConfigError as error:
        yield "kind", str(error)
        return
    yield from _wrong_common(kind, params)
    if kind.needs != VECTORS and shape is not None and len(shape) == 1:
        advice = _map_advice(bank, "map")
        numbers = counted(shape[0], "number")
        yield "tap", f"head '{kind.name}' needs a map, but tap '{tap}' has vectors of {numbers}: {advice}"
    if kind.needs == MAPS and shape is not None and len(shape) == _ROWS:
        advice = _map_advice(bank, "map" if tap == TOKENS else f"{tap}:map")
        rows = f"{shape[0]} tokens of {counted(shape[1], 'number')}"
        yield "tap", f"head '{kind.name}' needs a map, but tap '{tap}' has {rows}: {advice}"
        return
    wrong = [(name or "kind", f"head '{kind.name}': {text}") for name, text in head.wrong_values(params)]
    yield from wrong
    if not wrong and (shape is None or len(shape) > 1):
        yield from _wrong_for_maps(kind, head, shape, tails)
    if not wrong:
        wrong = list(unrecordable(kind, params, bank.classes))
        yield from wrong
    if isinstance(params.get(CLASS_WEIGHT), Mapping) and not wrong:
        try:
            by_number = class_numbers(params[CLASS_WEIGHT], bank.classes)
            weights_of_classes(by_number, np.ones(len(bank.classes)), range(len(bank.classes)))
        except HeadInputError as error:
            yield CLASS_WEIGHT, f"head '{kind.name}': {error} (labels are the names or the numbers of the classes)"


def _map_advice(bank: Bank, tap: str) -> str:
    """Returns what to do for a map: take one of the bank, or extract a tap."""
    maps = [name for name in bank.taps if len(bank.tap_shape(name)) == _MAP]
    best = tap if tap in maps or not maps else maps[0]
    return f'take tap = "{best}"' if maps else f'extract with --tap {tap}, and take tap = "{tap}"'


def _wrong_for_maps(
    kind: HeadKind, head: Any, shape: tuple[int, ...] | None, tails: Tails
) -> Iterator[tuple[str, str]]:
    """Yields the key and the text of each problem of a head on maps with the shape of the maps."""
    if kind.needs == MAPS_AT_A_CUT:
        yield from ((name, f"head '{kind.name}': {text}") for name, text in tails.problems(head, shape))
    elif shape is not None:
        try:
            head.check_shape(shape)
        except HeadError as error:
            yield "kernel_size", f"head '{kind.name}': {error}"
