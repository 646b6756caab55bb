"""Taps: the named tensors of a backbone that are stored.

pooled      the global average of the last map; for a network that normalises its average (ConvNeXt), normalised
map         the last map
LAYER       the output of a layer
X:avg       the global average of LAYER or of `map`
X:max       the global maximum
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.errors import ConfigError, unknown_name

POOLINGS = ("avg", "max")
_POOLED = "pooled"
BUDGET = "auto"
"""The word in place of a layer in "auto:BYTES", which an extraction replaces by the name of a cut point."""
_MAP_RANK = 4


def parse_tap(tap: str) -> tuple[str, str | None]:
    """Parses a tap.

    Args:
        tap: see the table above.

    Returns:
        The source ("map" or the name of a layer), and "avg", "max" or None.

    Raises:
        ConfigError: the tap is not a name, or its pooling is unknown.

    Example:
        >>> parse_tap("pooled"), parse_tap("conv5:max"), parse_tap("map")
        (('map', 'avg'), ('conv5', 'max'), ('map', None))
    """
    if tap == _POOLED:
        return "map", "avg"
    source, colon, pooling = tap.partition(":") if isinstance(tap, str) else ("", "", "")
    if source == BUDGET:
        message = f"tap {tap!r} means the cut that fits a disk budget, which only 'extract' can pick: name a layer here"
        raise ConfigError(message)
    if not source.strip() or source != source.strip() or source == _POOLED:
        message = f"bad tap {tap!r}: expected 'pooled', 'map', or the name of a layer, optionally with ':avg' or ':max'"
        raise ConfigError(message)
    if colon and pooling not in POOLINGS:
        message = f"bad tap {tap!r}: the pooling is '{pooling}', expected avg or max, as in '{source}:avg'"
        raise ConfigError(message)
    return source, pooling if colon else None


def tap_tensors(network: Any, taps: Sequence[str], hint: str, *, normalizes_average: bool = False) -> dict[str, Any]:
    """Returns the tensors of taps.

    Args:
        network: the Keras model of the backbone.
        taps: at least one.
        hint: how to list the names of the layers, for messages.
        normalizes_average: see `BackboneSpec`.

    Returns:
        A Keras tensor for each tap, by the tap's name as given.

    Raises:
        ConfigError: there is no tap, a tap is malformed, or it pools an output without spatial axes.
        UnknownNameError: no layer has this name.
    """
    if isinstance(taps, str) or not taps:
        message = f"taps are {taps!r}: expected a list of one or more, as ['pooled']"
        raise ConfigError(message)
    tensors: dict[tuple[str, str | None], Any] = {}
    by_tap = {}
    for tap in taps:
        own = normalizes_average and tap == _POOLED
        key = (_POOLED, None) if own else parse_tap(tap)
        if key not in tensors:
            tensors[key] = normalized_pool(network) if own else _tensor(network, tap, *key, hint)
        by_tap[tap] = tensors[key]
    return by_tap


def normalized_pool(network: Any, pooling: str = "avg", name: str = "tap_pooled") -> Any:
    """Pools the map before a network's last normalisation, and normalises the vector.

    Args:
        network: a Keras model whose last layer normalises the channels of its map.
        pooling: "avg" or "max".
        name: name of the pooling layer.

    Returns:
        A Keras tensor (n, channels). The normalisation is the network's own layer, with its weights.
    """
    layer = network.layers[-1]
    return layer(_pool(pooling, name)(layer.input))


def _tensor(network: Any, tap: str, source: str, pooling: str | None, hint: str) -> Any:
    layers = {layer.name: layer for layer in network.layers}
    if source != "map" and source not in layers:
        raise unknown_name("tap", source, ["pooled", "map", *layers], hint)
    tensor = network.output if source == "map" else layers[source].output
    if pooling is None:
        return tensor
    if len(tensor.shape) != _MAP_RANK:
        message = (
            f"tap '{tap}' pools an output of shape {tuple(tensor.shape[1:])}: expected a map; leave out ':{pooling}'"
        )
        raise ConfigError(message)
    return _pool(pooling, f"tap_{source}_{pooling}")(tensor)


def _pool(pooling: str, name: str) -> Any:
    import keras

    kind = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return kind(name=name)
