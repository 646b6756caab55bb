"""The taps of a network of Keras, as tensors of its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featurebank.backbone.keras_networks.graph import output_of
from featurebank.backbone.outline import Outline, ResolvedTap
from featurebank.backbone.taps import MAP, POOLED, TOKENS, check_taps


def tap_tensors(
    network: Any, taps: Sequence[str], outline: Outline, hint: str, *, tokens_layer: str = "",
    normalizes_average: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Returns the tensors of taps.

    Args:
        network: the Keras model of the backbone.
        taps: at least one.
        outline: its shapes and tokens; the cut points are not needed.
        hint: how to list the names of the layers, for messages.
        tokens_layer: see `KerasSpec`.
        normalizes_average: see `KerasSpec`.

    Returns:
        A Keras tensor for each tap, by the tap's name as given.

    Raises:
        ConfigError: there is no tap, a tap is malformed, or the network does not have it.
        UnknownNameError: no layer has this name.
    """
    check_taps(taps)
    tensors: dict[tuple[str, str | None], Any] = {}
    by_tap = {}
    for tap in taps:
        one = outline.resolve(tap, hint)
        own = normalizes_average and tap == POOLED
        key = (POOLED, None) if own else (one.source, one.step)
        if key not in tensors:
            outputs = {POOLED: network.output, MAP: network.output}
            if tokens_layer:
                outputs[TOKENS] = output_of(network, tokens_layer)
            source = outputs[one.source] if one.source in outputs else output_of(network, one.source)
            tensors[key] = normalized_pool(network) if own else _after_step(source, one)
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
    import keras

    layer = network.layers[-1]
    kind = keras.layers.GlobalAveragePooling2D if pooling == "avg" else keras.layers.GlobalMaxPooling2D
    return layer(kind(name=name)(layer.input))


def _after_step(tensor: Any, one: ResolvedTap) -> Any:
    """Adds the step of a tap to an output, in layers that every converter knows."""
    from keras import layers

    if one.step is None:
        return tensor
    name = f"tap_{one.source}_{one.step}"
    if one.layout is None:
        pool = layers.GlobalAveragePooling2D if one.step == "avg" else layers.GlobalMaxPooling2D
        return pool(name=name)(tensor)
    before, after = (0, one.layout.count - 1) if one.step == "cls" else (one.layout.prefix, 0)
    if before or after:
        tensor = layers.Cropping1D((before, after), name=f"{name}_tokens")(tensor)
    if one.step in {"cls", "map"}:
        return layers.Reshape(one.shape, name=name)(tensor)
    pool = layers.GlobalAveragePooling1D if one.step == "avg" else layers.GlobalMaxPooling1D
    return pool(name=name)(tensor)
