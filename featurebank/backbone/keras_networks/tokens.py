"""How a Keras network that nobody describes arranges and pools its tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.cuts import nodes_of
from featurebank.backbone.keras_networks.graph import output_of
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.structure.features import LastFeatures
from featurebank.backbone.structure.probes import grid_of_image, pooling_of, prefix_of
from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES

_CLASS_WORDS = re.compile(r"cls|class", re.IGNORECASE)
_ATTENTIVE = re.compile(r"attention|softmax", re.IGNORECASE)


@dataclass(frozen=True)
class NetworkTokens:
    """The tokens of a network.

    Args:
        layer: the layer or operation that outputs all of them.
        layout: their arrangement.
        pooled: the layer or operation that outputs the pooled vector; empty if the network makes none, and the mean of
            the patches is taken.
        pooling: how the vector follows from the tokens; see `BackboneSpec.pooling`.
    """

    layer: str
    layout: TokenLayout
    pooled: str
    pooling: str


def tokens_of(network: Any, features: LastFeatures) -> NetworkTokens:
    """Finds out how a network arranges and pools its tokens.

    Args:
        network: a functional Keras model for images (n, s, s, 3), with a known s.
        features: its last features, which are tokens.
    """
    rows, width = features.last.shape
    grid, prefix = _grid(network, features)
    if grid is None:
        prefix = 0
    pooled = features.pooled.name if features.pooled else ""
    pooling = MEAN_OF_PATCHES
    if pooled:
        part = _function(output_of(network, features.last.name), output_of(network, pooled))
        pooling = pooling_of(part, rows, width, prefix)
        between = _between(network, features.last.name, pooled)
        pooling = pooling or (ATTENTION if any(_ATTENTIVE.search(word) for word in between) else f"layer '{pooled}'")
    if grid is None and pooling == CLASS_TOKEN:
        prefix = 1
    begins = _between(network, features.grid.name if features.grid else "", features.first_rows)
    by_name = any(_CLASS_WORDS.search(word) for word in begins)
    is_class = prefix > 0 and (pooling.startswith(CLASS_TOKEN) or by_name)
    return NetworkTokens(features.last.name, TokenLayout(prefix, is_class, grid, rows - prefix), pooled, pooling)


def _grid(network: Any, features: LastFeatures) -> tuple[tuple[int, int] | None, int]:
    """Returns the grid of the patches and the number of tokens before them; None and 0 if they are no grid."""
    first = output_of(network, features.first_rows)
    if features.grid is None:
        embed = _function(network.input, first)
        return grid_of_image(embed, network.input.shape[1], first.shape[1]) or (None, 0)
    height, width, channels = features.grid.shape
    prefix = prefix_of(_function(output_of(network, features.grid.name), first), (height, width), channels)
    return (None, 0) if prefix is None else ((height, width), prefix)


def _function(start: Any, end: Any) -> Callable[[np.ndarray], np.ndarray]:
    import keras

    part = keras.Model(start, end)
    return lambda values: np.asarray(part(values, training=False))


def _between(network: Any, start: str, end: str) -> list[str]:
    """Returns the names that say what the operations after one and up to another do: theirs, and those of parts."""
    order = [node.name for node in nodes_of(network)]
    names = order[order.index(start) + 1 if start else 0 : order.index(end) + 1]
    operations = {operation.name: operation for operation in network.operations}
    words = []
    for name in names:
        activation = getattr(getattr(operations[name], "activation", None), "__name__", "")
        weights = [weight.name for weight in getattr(operations[name], "weights", ())]
        words += [name, type(operations[name]).__name__, activation, *weights]
    return words
