"""Which nodes of a graph are the map, the tokens and the pooled vector of a network.

Only a node on every path from the image to the output can be one of the first two: its work is all of the network's
work up to there. What follows the last of them pools it and classifies.
"""

from __future__ import annotations

from dataclasses import dataclass

from featurebank.backbone.openvino_networks.axes import MAPS, TOKENS, VECTOR, constant
from featurebank.backbone.openvino_networks.graph import NodeGraph, OpenVINONode
from featurebank.backbone.openvino_networks.paths import NodePaths
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.structure.features import MOST_LEFT_OUT
from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES, MEAN_OF_TOKENS, NORMALIZED_MEAN

_MEANS = frozenset({"ReduceMean", "AvgPool", "AdaptiveAvgPool"})
_POOLS = frozenset({*_MEANS, "ReduceMax", "ReduceSum", "ReduceL2", "MaxPool", "AdaptiveMaxPool"})
_PICKS = frozenset({"Gather", "Slice", "StridedSlice", "Split", "VariadicSplit"})
_PLAIN = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Transpose", "Convert"})
"""Operations that change no number."""
_SHOWN = 3


@dataclass(frozen=True)
class GraphFeatures:
    """The nodes of a network that are its features, by their places in the graph.

    Args:
        last: the last map, or the last tokens.
        layout: how the tokens are arranged; None if `last` is a map.
        pooled: the vector that the network pools; None if it is the average over the places of the map, or if
            the network pools nothing.
        pooling: see `BackboneSpec.pooling`.
        after: the fraction of the work that follows `last`.
    """

    last: int
    layout: TokenLayout | None
    pooled: int | None
    pooling: str
    after: float


def find_features(graph: NodeGraph) -> GraphFeatures | str:
    """Returns the features of a network, or why it has none by default, in one line without the network's name."""
    if not graph.outputs:
        return "no output depends on the image"
    paths = NodePaths(graph)
    last = _last(graph, paths)
    if last is None or not last:
        return f"it has neither a map nor tokens that are on every path from the image{_candidates(graph, paths)}"
    after = paths.after(last)
    if after > MOST_LEFT_OUT:
        name = graph.nodes[last].name or graph.nodes[last].kind
        return (
            f"{100 * after:.0f} % of its work follows or bypasses its last {_word(graph.nodes[last])}, '{name}'"
            f"{_candidates(graph, paths)}"
        )
    vector = _vector(graph, paths, last)
    if graph.nodes[last].axes in MAPS:
        pooled, pooling = _pooled_map(graph, paths, last, vector)
        return GraphFeatures(last, None, pooled, pooling, after)
    layout = _layout(graph, paths, last)
    pooling = _pooling(graph, paths, last, vector, layout)
    if layout.prefix > 1 and pooling == CLASS_TOKEN and not layout.has_class_token:
        layout = TokenLayout(layout.prefix, has_class_token=True, grid=layout.grid, patches=layout.patches)
    return GraphFeatures(last, layout, vector, pooling, after)


def _last(graph: NodeGraph, paths: NodePaths) -> int | None:
    """Returns the last map before it is pooled to one place, or the last tokens, whichever comes later."""
    found: int | None = None
    previous = 0
    for place in paths.main[1:]:
        node = graph.nodes[place]
        if node.is_feature and node.axes in {*MAPS, *TOKENS}:
            if _places(node) == 1 and (node.axes in TOKENS or _is_pooled(graph, previous, place)):
                break
            found = place
        elif node.axes == VECTOR and found is not None:
            break
        previous = place
    return found if found is None or graph.nodes[found].axes in MAPS else _after_blocks(graph, paths, found)


def _is_pooled(graph: NodeGraph, start: int, end: int) -> bool:
    """Returns whether every path between two nodes pools a map to one place, and does not shrink it otherwise."""
    left, visited = [end], {end}
    while left:
        place = left.pop()
        if place == start:
            return False
        node = graph.nodes[place]
        if node.kind in _POOLS and node.row and _places(node) == 1:
            continue
        new = [source for source in node.sources if source >= start and source not in visited]
        visited.update(new)
        left += new
    return True


def _after_blocks(graph: NodeGraph, paths: NodePaths, last: int) -> int:
    """Returns the tokens after the last block, which ends in a sum, and after what follows it without work.

    A pooling with attention begins with products of all tokens, which are not features of the network.
    """
    tokens = [place for place in paths.main if place <= last and graph.nodes[place].axes in TOKENS]
    sums = [place for place in tokens if graph.nodes[place].kind == "Add" and len(graph.nodes[place].sources) > 1]
    if not sums:
        return last
    found = sums[-1]
    for previous, place in zip(tokens[tokens.index(found) :], tokens[tokens.index(found) + 1 :], strict=False):
        same = graph.nodes[place].row == graph.nodes[found].row
        if (
            not same
            or graph.nodes[place].kind in _PICKS
            or any(graph.nodes[one].work for one in paths.between(previous, place))
        ):
            break
        found = place
    return found


def _places(node: OpenVINONode) -> int:
    count = 1
    for axis, length in zip(node.axes, node.shape, strict=True):
        count *= length if axis in "hwt" else 1
    return count


def _vector(graph: NodeGraph, paths: NodePaths, last: int) -> int | None:
    """Returns the first vector after the last map or tokens, and what follows it without work, as a normalisation."""
    following = paths.dominators(last, paths.target)[1:]
    start = next((index for index, place in enumerate(following) if _is_vector(graph.nodes[place])), None)
    if start is None:
        return None
    found = following[start]
    for previous, place in zip(following[start:], following[start + 1 :], strict=False):
        steps = [graph.nodes[one] for one in paths.between(previous, place)]
        if not _is_vector(graph.nodes[place]) or any(step.work or step.kind == "Softmax" for step in steps):
            break
        found = place
    return found


def _is_vector(node: OpenVINONode) -> bool:
    """Returns whether a node is a vector of each image, and not a flattened map."""
    return node.axes in {VECTOR, ""} and node.row is not None and len(node.row) == 1


def _pooled_map(graph: NodeGraph, paths: NodePaths, last: int, vector: int | None) -> tuple[int | None, str]:
    """Returns the vector that a network makes of its map, if it is not its average, and the words for it."""
    if vector is None:
        return None, ""
    steps = [graph.nodes[place] for place in paths.between(last, vector)]
    kinds = {step.kind for step in steps}
    if not kinds & _POOLS or kinds <= {*_PLAIN, *_MEANS}:
        return None, ""
    if not any(step.work for step in steps) and not kinds & (_POOLS - _MEANS):
        return vector, NORMALIZED_MEAN
    return vector, f"output of '{graph.nodes[vector].name or graph.nodes[vector].kind}'"


def _layout(graph: NodeGraph, paths: NodePaths, last: int) -> TokenLayout:
    """Returns how the tokens are arranged: other tokens first, then the places of the last map before them."""
    count = _places(graph.nodes[last])
    maps = [graph.nodes[place] for place in paths.main if place < last and graph.nodes[place].axes in MAPS]
    grid = next((_grid(node) for node in reversed(maps) if _places(node) <= count), None)
    if grid is None:
        return TokenLayout(0, has_class_token=False, grid=None, patches=count)
    prefix = count - grid[0] * grid[1]
    if prefix and not _patches_follow(graph, paths, last, grid[0] * grid[1]):
        return TokenLayout(0, has_class_token=False, grid=None, patches=count)
    return TokenLayout.of_grid(grid, prefix, has_class_token=prefix == 1)


def _grid(node: OpenVINONode) -> tuple[int, int]:
    length = dict(zip(node.axes, node.shape, strict=True))
    return length["h"], length["w"]


def _patches_follow(graph: NodeGraph, paths: NodePaths, last: int, patches: int) -> bool:
    """Returns whether the patches are the last part wherever tokens are joined."""
    joins = [node for place in paths.before(last) if (node := graph.nodes[place]).kind == "Concat"]
    joins = [node for node in joins if node.axes in TOKENS and _places(node) > patches]
    return bool(joins) and all(
        tuple(join.operation.input_value(join.operation.get_input_size() - 1).get_shape())[join.axes.index("t")]
        >= patches
        for join in joins
    )


def _pooling(graph: NodeGraph, paths: NodePaths, last: int, vector: int | None, layout: TokenLayout) -> str:
    """Returns the words for how a transformer pools its tokens; a network that does not gets the usual way."""
    if vector is None:
        return CLASS_TOKEN if layout.has_class_token else MEAN_OF_PATCHES
    steps = [graph.nodes[place] for place in paths.between(last, vector)]
    if any(step.work for step in steps):
        return ATTENTION
    pools = next((step for step in steps if step.kind in _POOLS and _loses_tokens(graph, step)), None)
    if pools is None:
        return _picked(graph, steps, vector)
    if pools.kind not in _MEANS:
        return f"output of '{graph.nodes[vector].name or graph.nodes[vector].kind}'"
    if layout.prefix and _places(graph.nodes[pools.sources[0]]) != layout.patches:
        return MEAN_OF_TOKENS if steps[-1] is pools else f"output of '{graph.nodes[vector].name}'"
    later = {step.kind for step in steps[steps.index(pools) + 1 :]}
    return MEAN_OF_PATCHES if later <= _PLAIN else NORMALIZED_MEAN


def _loses_tokens(graph: NodeGraph, step: OpenVINONode) -> bool:
    source = graph.nodes[step.sources[0]]
    return source.axes in TOKENS and _places(source) > 1 and (step.axes == VECTOR or _places(step) == 1)


def _picked(graph: NodeGraph, steps: list[OpenVINONode], vector: int) -> str:
    """Returns the words for a network that takes one token."""
    pick = next((step for step in steps if step.kind in _PICKS and _loses_tokens(graph, step)), None)
    first = constant(pick.operation, 1) if pick is not None else None
    is_first = pick is not None and (
        pick.kind in {"Split", "VariadicSplit"} or not first or first[-1:] == [0] or not any(first)
    )
    return CLASS_TOKEN if is_first else f"output of '{graph.nodes[vector].name or graph.nodes[vector].kind}'"


def _word(node: OpenVINONode) -> str:
    return "map" if node.axes in MAPS else "tokens"


def _candidates(graph: NodeGraph, paths: NodePaths) -> str:
    """Names nodes that a user could mean: outputs of the network, and the last nodes with little work after them."""
    outputs = [place for place in graph.outputs if graph.nodes[place].is_feature]
    features = [place for place, node in enumerate(graph.nodes) if place and node.name and node.is_feature]
    late = [place for place in reversed(features) if graph.nodes[place].axes in {*MAPS, *TOKENS}]
    chosen = list(dict.fromkeys([*outputs, *late]))[:_SHOWN]
    if not chosen:
        return ""
    shown = [
        f"'{graph.nodes[place].name}' ({' x '.join(map(str, graph.nodes[place].row or ()))}; "
        f"{100 * paths.after(place):.0f} % left out)"
        for place in chosen
    ]
    return f": name the node that you mean as the tap, such as {', '.join(shown)}"
