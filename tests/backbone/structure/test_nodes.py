"""Cut points of plain graphs: a dominator is a node without which nothing reaches the output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from featurebank.backbone.structure.nodes import GraphNode, all_cuts, dominators, useful_cuts


@st.composite
def graphs(draw: st.DrawFn) -> list[GraphNode]:
    """Networks of up to twelve nodes, of which each has a path from the first and to the last."""
    count = draw(st.integers(2, 12))
    edges = {(index, index + 1) for index in range(count - 1) if draw(st.booleans())}
    for index in range(1, count):
        edges.add((draw(st.integers(0, index - 1)), index))
    for index in range(count - 1):
        if not any(start == index for start, _ in edges):
            edges.add((index, draw(st.integers(index + 1, count - 1))))
    works = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    shapes = draw(st.lists(st.sampled_from([(4, 4, 2), (16, 2), (2,), None]), min_size=count, max_size=count))
    return [
        GraphNode(str(index), shapes[index], works[index], [str(end) for start, end in sorted(edges) if start == index])
        for index in range(count)
    ]


def reaches_the_end(nodes: list[GraphNode], without: str) -> bool:
    seen, waiting = set(), [nodes[0].name]
    followers = {node.name: node.followers for node in nodes}
    while waiting:
        name = waiting.pop()
        if name != without and name not in seen:
            seen.add(name)
            waiting += followers[name]
    return nodes[-1].name in seen


@given(graphs())
def test_dominators(nodes: list[GraphNode]) -> None:
    expected = [node.name for node in nodes if node.shape and not reaches_the_end(nodes, node.name)]
    results = dominators(nodes)
    assert [one.node.name for one in results] == expected
    total = sum(node.work for node in nodes)
    for one in results:
        left = sum(node.work for node in nodes[one.place + 1 :])
        assert one.remaining_work == (left / total if total else 0)


@given(graphs())
def test_cuts_are_maps_and_tokens(nodes: list[GraphNode]) -> None:
    cuts = all_cuts(nodes)
    assert {len(cut.shape) for cut in cuts} <= {2, 3}
    useful = useful_cuts(nodes)
    assert set(useful) <= set(cuts)
    shares = [cut.remaining_work for cut in useful]
    assert shares == sorted(shares, reverse=True)
    assert {(cut.shape, cut.remaining_work) for cut in useful} == {
        (cut.shape, cut.remaining_work) for cut in cuts if cut.remaining_work < 1
    }


def test_operations_and_padding() -> None:
    nodes = [
        GraphNode("image", (4, 4, 3), 0, ["conv"]),
        GraphNode("conv", (4, 4, 8), 9, ["pad"]),
        GraphNode("pad", (5, 5, 8), 0, ["plus"], pads=True),
        GraphNode("plus", (5, 5, 8), 0, ["rows"], is_layer=False),
        GraphNode("rows", (25, 8), 9, ["vector"], is_layer=False),
        GraphNode("vector", (8,), 1, []),
    ]
    assert [cut.name for cut in all_cuts(nodes)] == ["image", "conv", "rows"]
    assert [cut.bytes_per_image_float16 for cut in useful_cuts(nodes)] == [4 * 4 * 8 * 2, 25 * 8 * 2]
