"""Taps: the named outputs of a backbone that are stored. This is their grammar, the same for every kind of network.

pooled      the vector that the network itself makes of its last map or its tokens
map         the last map (h, w, c); of a transformer, its patch tokens laid out as (h, w, d)
tokens      all tokens of a transformer after its last normalisation, (T, d)
cls         the class token, (d,)
LAYER       the output of a layer: a map, tokens, or a vector
X:avg       the average over the places of a map or over the patch tokens; X is `map`, `tokens` or a LAYER
X:max       the maximum over them
X:cls       the class token of X
X:map       the patch tokens of X, laid out as (h, w, d)

`Outline.resolve` says what a tap means in a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from featurebank.errors import ConfigError

POOLED, MAP, TOKENS, CLS = "pooled", "map", "tokens", "cls"
STEPS = ("avg", "max", "cls", "map")
"""What can be done with an output, after the colon of a tap."""
CLASS_TOKEN, ATTENTION = "class token", "attention"
"""Words for `BackboneSpec.pooling`: `pooled` is the class token, or a pooling layer with attention makes it."""
MEAN_OF_PATCHES, MEAN_OF_TOKENS = "mean of patches", "mean of tokens"
"""`pooled` is the mean of the rows of `tokens`, without or with class and register tokens."""
NORMALIZED_MEAN = "normalised mean of patches"
"""`pooled` is the mean of the patches, normalised afterwards."""
BUDGET = "auto"
"""The word in place of a layer in "auto:BYTES", which an extraction replaces by the name of a cut point."""


class Tap(NamedTuple):
    """A parsed tap.

    Args:
        source: "pooled", "map", "tokens", "cls" or the name of a layer.
        step: one of `STEPS`; None for the output itself.
    """

    source: str
    step: str | None = None

    @property
    def is_vector(self) -> bool:
        """Whether the rows are vectors, whatever the network is."""
        return self.source in {POOLED, CLS} or self.step in {"avg", "max", "cls"}


def check_taps(taps: Sequence[str]) -> None:
    """Raises ConfigError if taps are not a list of one or more."""
    if isinstance(taps, str) or not taps:
        message = f"taps are {taps!r}: expected a list of one or more, as ['pooled']"
        raise ConfigError(message)


def parse_tap(tap: str) -> Tap:
    """Parses a tap.

    Args:
        tap: see the table above.

    Raises:
        ConfigError: the tap is not a name, or what follows its colon is unknown.

    Example:
        >>> parse_tap("pooled"), parse_tap("block9:cls")
        (Tap(source='pooled', step=None), Tap(source='block9', step='cls'))
    """
    source, colon, step = tap.partition(":") if isinstance(tap, str) else ("", "", "")
    if source == BUDGET:
        message = f"tap {tap!r} means the cut that fits a disk budget, which only 'extract' can pick: name a layer here"
        raise ConfigError(message)
    if not source.strip() or source != source.strip() or (colon and source in {POOLED, CLS}):
        message = (
            f"bad tap {tap!r}: expected 'pooled', 'map', 'tokens', 'cls', or the name of a layer, optionally with "
            "':avg', ':max', ':cls' or ':map'"
        )
        raise ConfigError(message)
    if colon and step not in STEPS:
        message = f"bad tap {tap!r}: '{step}' follows the colon, expected avg, max, cls or map, as in '{source}:avg'"
        raise ConfigError(message)
    return Tap(source, step if colon else None)


def averages_map(pooling: str) -> bool:
    """Returns whether `pooled` is the average over the places of `map`.

    Args:
        pooling: see `BackboneSpec.pooling`; as "pooling" in a recipe.
    """
    return pooling in {"", MEAN_OF_PATCHES}


def plain(tap: str, *, averages: bool) -> Tap:
    """Parses a tap, and returns ("map", "avg") for `pooled` where that is what the network computes.

    Args:
        tap: as `parse_tap`.
        averages: whether `pooled` is the average over the places of `map`.

    Raises:
        ConfigError: see `parse_tap`.

    Example:
        >>> plain("pooled", averages=True), plain("pooled", averages=False), plain("tokens:map", averages=True)
        (Tap(source='map', step='avg'), Tap(source='pooled', step=None), Tap(source='map', step=None))
    """
    parsed = parse_tap(tap)
    if parsed.source == TOKENS and parsed.step in {"avg", "max", "map"}:
        return Tap(MAP, None if parsed.step == "map" else parsed.step)
    return Tap(MAP, "avg") if averages and parsed.source == POOLED else parsed
