"""What lies on the paths of a graph, and how much work precedes a node."""

from __future__ import annotations

from collections.abc import Iterable

from featurebank.backbone.openvino_networks.graph import NodeGraph


class NodePaths:
    """What lies on the paths of a graph.

    Args:
        graph: the graph.
    """

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph
        self._total = sum(node.work for node in graph.nodes)
        self.target = max(graph.outputs, key=lambda place: (self._work(self.before(place)), -place))
        """The output with the most work before it."""
        self.main = self.dominators(0, self.target)

    def before(self, place: int) -> set[int]:
        """Returns the places on all paths to a node, and the node itself."""
        found, left = {place}, [place]
        while left:
            for source in self._graph.nodes[left.pop()].sources:
                if source not in found:
                    found.add(source)
                    left.append(source)
        return found

    def after(self, place: int) -> float:
        """Returns the fraction of the network's work that does not precede a node."""
        return 1 - self._work(self.before(place)) / self._total if self._total else 0.0

    def between(self, start: int, end: int) -> list[int]:
        """Returns the places on all paths from one node to another, without the first, in order."""
        reached = {start}
        for place in sorted(self.before(end)):
            if place > start and reached.intersection(self._graph.nodes[place].sources):
                reached.add(place)
        return sorted(reached - {start})

    def dominators(self, start: int, end: int) -> list[int]:
        """Returns the places that are on every path from one node to another, both included.

        In any topological order, a node is on every path if and only if no edge leads from before it to after it.
        """
        inside = [start, *self.between(start, end)]
        members, reach, found = set(inside), 0, []
        follower = dict.fromkeys(inside, 0)
        for place in inside:
            for source in self._graph.nodes[place].sources:
                if source in members:
                    follower[source] = max(follower[source], place)
        for place in inside:
            if reach <= place:
                found.append(place)
            reach = max(reach, follower[place])
        return found

    def _work(self, places: Iterable[int]) -> int:
        return sum(self._graph.nodes[place].work for place in places)
