"""Cut points of Keras networks: layers on every path from the image to the output. Only there can a tail start."""

from __future__ import annotations

from typing import Any

from featurebank.backbone.keras_networks.graph import graph_of
from featurebank.backbone.keras_networks.work import multiply_adds
from featurebank.backbone.outline import CutPoint
from featurebank.backbone.structure.nodes import GraphNode, all_cuts, useful_cuts
from featurebank.errors import ConfigError, unknown_name

_REARRANGES = frozenset({
    "Cropping1D", "GetItem", "Multiply", "Permute", "Transpose", "Swapaxes", "Moveaxis", "Take", "Slice", "Split",
})  # fmt: skip
"""Classes that make no features of their own; see `GraphNode`."""
_PADS = frozenset({"ZeroPadding2D"})


def nodes_of(network: Any) -> list[GraphNode]:
    """Returns the graph of a functional Keras model, in topological order; see `GraphNode`."""
    graph = graph_of(network)
    layers = {layer.name for layer in network.layers}
    operations = {operation.name: operation for operation in network.operations}
    work = {name: multiply_adds(operation) for name, operation in operations.items()}
    return [
        GraphNode(
            name,
            _shape(operations.get(name)),
            work.get(name, 0),
            graph.followers[name],
            rearranges=type(operations.get(name)).__name__ in _REARRANGES,
            pads=type(operations.get(name)).__name__ in _PADS,
            is_layer=name in layers,
        )
        for name in graph.order
    ]


def cut_points(network: Any) -> list[CutPoint]:
    """Lists the useful cut points of a network, from the image to the last map or the tokens; see `useful_cuts`.

    Args:
        network: a functional Keras model with one input, one output and a known image size.

    Returns:
        At least one cut point; no work follows the last one, unless the network pools its tokens by attention.
    """
    return useful_cuts(nodes_of(network))


def checked_cut(network: Any, name: str) -> CutPoint:
    """Returns the cut point at a layer, useful or not.

    Args:
        network: see `cut_points`.
        name: name of the layer.

    Raises:
        UnknownNameError: there is no such layer.
        ConfigError: a path from the image to the output bypasses it; the message names the nearest cut points.
    """
    nodes = nodes_of(network)
    cuts = {cut.name: cut for cut in all_cuts(nodes)}
    if name in cuts:
        return cuts[name]
    order = [node.name for node in nodes]
    useful = [cut.name for cut in useful_cuts(nodes)]
    if name not in order:
        raise unknown_name("cut point", name, useful)
    place = order.index(name)
    before = next((cut for cut in reversed(useful) if order.index(cut) < place), None)
    after = next((cut for cut in useful if order.index(cut) > place), None)
    nearest = " and ".join(f"'{cut}' {word} it" for cut, word in ((before, "before"), (after, "after")) if cut)
    message = f"'{name}' is not a cut point: paths of the network bypass it; the nearest are {nearest}"
    raise ConfigError(message)


def _shape(operation: Any) -> tuple[int, ...] | None:
    """Returns the shape of a layer's or an operation's output for one image; None if it has several outputs."""
    shape = getattr(getattr(operation, "output", None), "shape", None)
    return tuple(shape[1:]) if shape else None
