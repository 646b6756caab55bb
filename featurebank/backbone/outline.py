"""The outline of a network: the shape of every layer, its tokens and its cut points, without the network itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from featurebank.backbone.taps import CLS, MAP, POOLED, TOKENS, Tap, parse_tap
from featurebank.errors import ConfigError, unknown_name
from featurebank.words import counted

_VECTOR, _ROWS, _MAP = 1, 2, 3
"""Number of axes of an output for one image: (d,), tokens (T, d), a map (h, w, c)."""
_EXACT = 1e-6


@dataclass(frozen=True)
class CutPoint:
    """A layer where a network can be cut in two.

    Args:
        name: name of the layer.
        shape: shape of its output for one image.
        bytes_per_image_float16: size of that output in float16.
        remaining_work: the fraction of the network's multiply-adds that follow, from 0 to 1.
    """

    name: str
    shape: tuple[int, ...]
    bytes_per_image_float16: int
    remaining_work: float


@dataclass(frozen=True)
class LayerFacts:
    """A layer, for people.

    Args:
        name: its name, which can be a tap.
        shape: shape of its output for one image.
        kind: its class; empty if it is not known.
        parameters: number of its weights; None if it is not known.
    """

    name: str
    shape: tuple[int, ...]
    kind: str = ""
    parameters: int | None = None


@dataclass(frozen=True)
class TokenLayout:
    """How the tokens of a transformer are arranged: class and register tokens first, then the patches row by row.

    Args:
        prefix: how many tokens precede the patches.
        has_class_token: whether the first of these is a class token.
        grid: rows and columns of patches; None if the patches are no grid.
        patches: number of patches.

    Example:
        >>> layout = TokenLayout(prefix=1, has_class_token=True, grid=(14, 14), patches=196)
        >>> layout.count, layout.describe()
        (197, 'class token, 14 x 14 patches')
    """

    prefix: int
    has_class_token: bool
    grid: tuple[int, int] | None
    patches: int

    @classmethod
    def of_grid(cls, grid: tuple[int, int], prefix: int = 0, *, has_class_token: bool = False) -> TokenLayout:
        """Returns the layout of a grid of patches after some other tokens."""
        return cls(prefix, has_class_token, grid, math.prod(grid))

    @property
    def count(self) -> int:
        """The number of tokens."""
        return self.prefix + self.patches

    def describe(self) -> str:
        """Says what the tokens are, for people."""
        others = self.prefix - self.has_class_token
        parts = [
            "class token" if self.has_class_token else "",
            f"{others} register token{'s' if others > 1 else ''}" if others else "",
            f"{self.grid[0]} x {self.grid[1]} patches" if self.grid else f"{self.patches} patches without a grid",
        ]
        return ", ".join(part for part in parts if part)

    def of_rows(self, count: int) -> TokenLayout | None:
        """Returns the layout of another layer with `count` tokens; None if it is not known.

        A layer may have the same tokens, the patches alone (before the class token joins them), or, in a network that
        merges patches, a finer or coarser grid.
        """
        if count == self.count:
            return self
        alone = replace(self, prefix=0, has_class_token=False)
        if count == self.patches:
            return alone
        for layout in (self, alone):
            ratio = (count - layout.prefix) / self.patches
            if self.grid and ratio > 0 and (scaled := _scaled(self.grid, math.sqrt(ratio))):
                return replace(layout, grid=scaled, patches=math.prod(scaled))
        return None


@dataclass(frozen=True)
class ResolvedTap:
    """What a tap means in one network.

    Args:
        tap: the tap, as it was requested.
        source: the output to take: "pooled", "map" or "tokens" of the network, or the name of a layer.
        step: what to do with it: "avg" and "max" over the places of a map or over the patch tokens, "cls" for the
            first token, "map" for the patch tokens as (h, w, d); None for the output itself.
        layout: how the tokens of `source` are arranged; None if it has none.
        shape: shape of one row.
    """

    tap: str
    source: str
    step: str | None
    layout: TokenLayout | None
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Outline:
    """The layers of a network, without the network.

    Args:
        cuts: see `cut_points`.
        shapes: shape of each layer's output for one image; also that of "tokens", or else of "map", and that of
            "pooled" unless it is the average over the places of the map.
        tokens: how the tokens of the network are arranged; None if its last features are a map.
        multiply_adds: its work for one image, up to its default features; None if it is not known.
    """

    cuts: tuple[CutPoint, ...]
    shapes: Mapping[str, tuple[int, ...]]
    tokens: TokenLayout | None = None
    multiply_adds: int | None = None

    def tap_shape(self, tap: str, hint: str = "") -> tuple[int, ...]:
        """Returns the shape of one row of a tap; for arguments and errors see `resolve`."""
        return self.resolve(tap, hint).shape

    def resolve(self, tap: str, hint: str = "") -> ResolvedTap:
        """Returns what a tap means in this network.

        A word of the grammar precedes a layer of that name, unless it means nothing in this network.

        Args:
            tap: see `featurebank.backbone.taps`.
            hint: how to list the names of the layers, for messages.

        Raises:
            ConfigError: the tap is malformed, or the network does not have it.
            UnknownNameError: no layer has this name.
        """
        parsed = parse_tap(tap)
        source, step = self._output(parsed)
        if step == "map" and len(self.shapes.get(source, ())) == _MAP:
            step = None  # it is a map already
        if source not in self.shapes:
            raise self._missing(parsed, source, hint)
        shape = self.shapes[source]
        layout = self.tokens.of_rows(shape[0]) if self.tokens and len(shape) == _ROWS else None
        if problem := _problem(parsed, step, shape, layout):
            raise ConfigError(problem)
        return ResolvedTap(tap, source, step, layout, _row(step, shape, layout))

    def _output(self, parsed: Tap) -> Tap:
        """Returns the output that a tap takes, and the step after it."""
        if parsed.source == POOLED and POOLED not in self.shapes:
            return Tap(MAP, "avg")
        if self.tokens and parsed.source == MAP:
            return Tap(TOKENS, parsed.step or "map")
        return Tap(TOKENS, "cls") if self.tokens and parsed.source == CLS else parsed

    def _missing(self, parsed: Tap, source: str, hint: str) -> Exception:
        if source in {TOKENS, CLS}:
            missing = "tokens" if source == TOKENS else "class token"
            return ConfigError(f"the network has no {missing}, its last features are a map: use 'pooled' or 'map'")
        if source == MAP:
            return ConfigError("the network has no map: use 'pooled', or the name of a layer that has one")
        words = dict.fromkeys((POOLED, MAP, *([TOKENS, CLS] if self.tokens else []), *self.shapes))
        return unknown_name("tap", parsed.source, words, hint)


def _problem(parsed: Tap, step: str | None, shape: tuple[int, ...], layout: TokenLayout | None) -> str:
    """Describes in one line why an output does not allow a step; "" if it does."""
    if step is None:
        return ""
    name = parsed.source if parsed.step is None else f"{parsed.source}:{parsed.step}"
    problem = ""
    if len(shape) == _MAP:
        advice = "use ':avg' or ':max'"
        if step not in {"avg", "max"}:
            problem = f"'{parsed.source}' is a map of shape {shape}, without tokens; {advice}"
    elif len(shape) != _ROWS:
        problem = f"'{parsed.source}' is an output of shape {shape}, neither a map nor tokens; leave out ':{step}'"
    else:
        problem = _problem_of_rows(parsed.source, step, shape[0], layout)
    return f"tap '{name}': {problem}" if problem else ""


def _problem_of_rows(source: str, step: str, count: int, layout: TokenLayout | None) -> str:
    if layout is None:
        rows = counted(count, "row")
        return f"'{source}' has {rows}, and which are patches is not known; use '{source}' itself, or 'tokens'"
    if step == "cls" and not layout.has_class_token:
        what = "the network" if source in {CLS, TOKENS, MAP} else f"'{source}'"
        return f"{what} has no class token; use ':avg', or 'pooled'"
    if step == "map" and layout.grid is None:
        return "the patches are no grid; use 'tokens'"
    return ""


def _row(step: str | None, shape: tuple[int, ...], layout: TokenLayout | None) -> tuple[int, ...]:
    """Returns the shape of a row after a step."""
    if step is None:
        return shape
    if step == "map" and layout and layout.grid:
        return (*layout.grid, shape[-1])
    return shape[-1:]


def _scaled(grid: tuple[int, int], by: float) -> tuple[int, int] | None:
    """Returns a grid scaled by a factor; None unless both sides become whole numbers."""
    sides = [side * by for side in grid]
    whole = tuple(round(side) for side in sides)
    exact = all(abs(side - number) < _EXACT for side, number in zip(sides, whole, strict=True))
    return (whole[0], whole[1]) if exact and min(whole) else None
