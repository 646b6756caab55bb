"""The graph of a network without its library, and the nodes that every path from the image to the output passes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from featurebank.backbone.outline import CutPoint

_BYTES_FLOAT16 = 2
_ROWS = 2


@dataclass(frozen=True)
class GraphNode:
    """A layer or an operation of a network.

    Args:
        name: its name, which no other node has.
        shape: shape of its output for one image, without the batch: a map is (h, w, c), tokens are (T, d), a vector is
            (d,); None if it has several outputs or an unknown shape.
        work: its multiply-adds for one image.
        followers: the names of the nodes that take its output.
        rearranges: whether it makes no features of its own, because it only selects, weighs or reorders what it gets:
            slices, transpositions, products with weights.
        pads: whether it only pads, so that nobody would cut there.
        is_layer: whether it is a layer with a name that its author can choose, not an operation between layers.
    """

    name: str
    shape: tuple[int, ...] | None
    work: int
    followers: Sequence[str]
    rearranges: bool = False
    pads: bool = False
    is_layer: bool = True


@dataclass(frozen=True)
class Dominator:
    """A node that every path from the image to the output passes.

    Args:
        node: the node, whose shape is known.
        place: its place in the topological order.
        remaining_work: the fraction of the network's multiply-adds that follow, from 0 to 1.
    """

    node: GraphNode
    place: int
    remaining_work: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output for one image."""
        return self.node.shape or ()

    @property
    def cut(self) -> CutPoint:
        """The node as a cut point."""
        size = math.prod(self.shape) * _BYTES_FLOAT16
        return CutPoint(self.node.name, self.shape, size, self.remaining_work)


def dominators(nodes: Sequence[GraphNode]) -> list[Dominator]:
    """Finds every dominator of the output whose shape is known.

    In any topological order, a node is on every path if and only if no edge leads from before it to after it.

    Args:
        nodes: all nodes between the image and the output, in topological order, the image first.
    """
    place = {node.name: index for index, node in enumerate(nodes)}
    left = total = sum(node.work for node in nodes)
    results, reach = [], 0
    for index, node in enumerate(nodes):
        left -= node.work
        if reach <= index and node.shape:
            results.append(Dominator(node, index, left / total if total else 0.0))
        reach = max([reach, *(place[follower] for follower in node.followers)])
    return results


def all_cuts(nodes: Sequence[GraphNode]) -> list[CutPoint]:
    """Lists the cut points of a network, useful or not.

    They are the dominators that are maps of layers, or tokens, and do not only pad or select.
    """
    return [
        one.cut
        for one in dominators(nodes)
        if not (one.node.pads if len(one.shape) > _ROWS else one.node.rearranges)
        and (len(one.shape) == _ROWS or (len(one.shape) > _ROWS and one.node.is_layer))
    ]


def useful_cuts(nodes: Sequence[GraphNode]) -> list[CutPoint]:
    """Lists the useful cut points of a network, from the image to its last map or its tokens.

    In a run of cut points without multiplications and changes of shape between them (convolution, normalisation,
    activation), only the last one is listed, and also each that Keras names as a block's output (`..._out`).

    Args:
        nodes: see `dominators`.
    """
    cuts = [cut for cut in all_cuts(nodes) if cut.remaining_work < 1]
    useful = []
    for cut, following in zip_longest(cuts, cuts[1:]):
        same = following and (following.shape, following.remaining_work) == (cut.shape, cut.remaining_work)
        if not same or cut.name.endswith("_out"):
            useful.append(cut)
    return useful
