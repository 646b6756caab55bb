"""Paths of a graph: the nodes that all of them share, and the work before a node."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from featurebank.backbone.openvino_networks.graph import NodeGraph, OpenVINONode
from featurebank.backbone.openvino_networks.paths import NodePaths


def graph(sources: list[set[int]]) -> NodeGraph:
    """Returns a graph whose node number n has the work n + 1; the last node is the output."""
    nodes = [OpenVINONode(f"n{place}", "Relu", tuple(sorted(one)), (11, 4), "nc", place + 1, None)
             for place, one in enumerate(sources)]  # fmt: skip
    return NodeGraph(nodes, [len(nodes) - 1])


def count(sources: list[set[int]], end: int, without: int = -1) -> int:
    """Returns the number of paths from the first node to another that avoid a node."""
    ways = [0] * len(sources)
    for place, before in enumerate(sources[: end + 1]):
        ways[place] = 0 if place == without else int(place == 0) or sum(ways[source] for source in before)
    return ways[end]


@given(st.lists(st.sets(st.integers(0, 7), min_size=1, max_size=3), min_size=1, max_size=8))
def test_dominators_are_what_no_path_avoids(drawn: list[set[int]]) -> None:
    sources: list[set[int]] = [set()]
    for place, one in enumerate(drawn, 1):
        sources.append({source % place for source in one})
    paths, last = NodePaths(graph(sources)), len(sources) - 1
    on_all = [place for place in range(last + 1) if count(sources, last, place) == 0 and count(sources, last)]
    assert paths.main == on_all
    for place in range(last + 1):
        before = paths.before(place)
        assert paths.after(place) == 1 - sum(one + 1 for one in before) / math.comb(last + 2, 2)


def test_the_output_with_most_work_counts() -> None:
    made = graph([set(), {0}, {1}, {0}])
    assert NodePaths(NodeGraph(made.nodes, [1, 2])).target == 2
    assert NodePaths(NodeGraph(made.nodes, [2, 1])).main == [0, 1, 2]
