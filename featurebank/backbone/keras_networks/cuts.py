"""Cut points: the layers on every path from the image to the last map. Only there can a tail start."""

from __future__ import annotations

import math
from typing import Any

from featurebank.backbone.keras_networks.graph import graph_of
from featurebank.backbone.keras_networks.work import multiply_adds
from featurebank.backbone.outline import CutPoint
from featurebank.errors import ConfigError, unknown_name

_BYTES_FLOAT16 = 2
_MAP_AXES = 3


def cut_points(network: Any) -> list[CutPoint]:
    """Lists the useful cut points of a network, from the image to the last map.

    In a run of cut points without multiplications and changes of shape between them (convolution, normalisation,
    activation), only the last one is listed, and also each that Keras names as a block's output (`..._out`).

    Args:
        network: a functional Keras model with one input, one output and a known image size.

    Returns:
        At least one cut point; no work follows the last one.
    """
    cuts = [cut for cut in _all_cuts(network) if cut.remaining_work < 1]
    useful = []
    for cut, following in zip(cuts, [*cuts[1:], None], strict=True):
        same = following and (following.shape, following.remaining_work) == (cut.shape, cut.remaining_work)
        if not same or cut.name.endswith("_out"):
            useful.append(cut)
    return useful


def last_map(network: Any) -> CutPoint | None:
    """Returns the last layer with a map (h, w, c) that is on every path to the output; None if there is none.

    Args:
        network: see `cut_points`.
    """
    maps = [cut for cut in _all_cuts(network, padding=True) if len(cut.shape) == _MAP_AXES]
    return maps[-1] if len(maps) > 1 else None  # the first is the image


def checked_cut(network: Any, name: str) -> CutPoint:
    """Returns the cut point at a layer, useful or not.

    Args:
        network: see `cut_points`.
        name: name of the layer.

    Raises:
        UnknownNameError: there is no such layer.
        ConfigError: a path from the image to the output bypasses it; the message names the nearest cut points.
    """
    cuts = {cut.name: cut for cut in _all_cuts(network)}
    if name in cuts:
        return cuts[name]
    order = graph_of(network).order
    if name not in order:
        raise unknown_name("cut point", name, [cut.name for cut in cut_points(network)])
    useful = [cut.name for cut in cut_points(network)]
    place = order.index(name)
    before = next((cut for cut in reversed(useful) if order.index(cut) < place), None)
    after = next((cut for cut in useful if order.index(cut) > place), None)
    nearest = " and ".join(f"'{cut}' {word} it" for cut, word in ((before, "before"), (after, "after")) if cut)
    message = f"'{name}' is not a cut point: paths of the network bypass it; the nearest are {nearest}"
    raise ConfigError(message)


def _all_cuts(network: Any, *, padding: bool = False) -> list[CutPoint]:
    """Finds every dominator of the output; those that only pad are optional.

    In any topological order, a layer is on every path if and only if no edge leads from before it to after it.
    """
    graph = graph_of(network)
    layers = {layer.name: layer for layer in network.layers}
    place = {name: index for index, name in enumerate(graph.order)}
    work = {operation.name: multiply_adds(operation) for operation in network.operations}
    left = total = sum(work.values())
    cuts, reach = [], 0
    for index, name in enumerate(graph.order):
        left -= work.get(name, 0)
        shape = getattr(getattr(layers.get(name), "output", None), "shape", None)  # some layers have several outputs
        if reach <= index and shape and (padding or not _is_padding(layers[name])):
            shape = tuple(shape[1:])
            cuts.append(CutPoint(name, shape, math.prod(shape) * _BYTES_FLOAT16, left / total if total else 0.0))
        reach = max([reach, *(place[follower] for follower in graph.followers[name])])
    return cuts


def _is_padding(layer: Any) -> bool:
    return type(layer).__name__ == "ZeroPadding2D"
