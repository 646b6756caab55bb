"""The last features of a network: its last map or its tokens, and the vector that it pools from its tokens.

They are the default taps of a network that nobody describes, so the law is: no more than a tenth of the network's
multiply-adds follows them. That is a classifier, but not a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featurebank.backbone.outline import CutPoint
from featurebank.backbone.structure.nodes import Dominator, GraphNode, dominators
from featurebank.errors import ConfigError

MOST_LEFT_OUT = 0.1
"""Largest fraction of the work that may follow the default taps."""
_VECTOR, _ROWS, _MAP = 1, 2, 3


@dataclass(frozen=True)
class LastFeatures:
    """The last features of a network.

    Args:
        last: the node of the last map, (h, w, c), or of the tokens, (T, d).
        pooled: the node of the vector that the network makes of its tokens; None for a map, and if the network makes no
            vector before its classifier.
        grid: the last map before the tokens, from which patches became tokens; None for a map, and if there is none.
        first_rows: the name of the first tokens behind `grid` that are as many as those of `last`; "" for a map.
    """

    last: CutPoint
    pooled: CutPoint | None = None
    grid: CutPoint | None = None
    first_rows: str = ""

    @property
    def are_tokens(self) -> bool:
        """Whether the last features are tokens."""
        return len(self.last.shape) == _ROWS


def last_features(nodes: Sequence[GraphNode], name: str, advice: str) -> LastFeatures:
    """Returns the last features of a network.

    They are the last map that a layer makes if a tenth of the work or less follows it; otherwise the tokens, or the map
    of an operation, that come last.

    Args:
        nodes: see `dominators`.
        name: the name of the network, for messages.
        advice: what a user can do to have the features of an earlier layer, with "{layer}" for its name.

    Raises:
        ConfigError: the network has neither a map nor tokens, or too much work follows them.
    """
    found = [one for one in dominators(nodes) if one.remaining_work < 1]
    maps = [one for one in found if len(one.shape) == _MAP]
    rows = [one for one in found if len(one.shape) == _ROWS and one.shape[0] > 1 and not one.node.rearranges]
    by_layers = [one for one in maps if one.node.is_layer]
    last = max((*maps[-1:], *rows[-1:]), key=lambda one: one.place, default=None)
    for one in (*by_layers[-1:], *([last] if last else [])):
        if one.remaining_work <= MOST_LEFT_OUT:
            return LastFeatures(one.cut) if len(one.shape) == _MAP else _of_tokens(found, one)
    if not maps and not rows:
        message = (
            f"{name} has no map and no tokens: expected a layer after the first convolution that is on every path and "
            "has an output (height, width, channels) or (tokens, width)"
        )
        raise ConfigError(message)
    raise ConfigError(_refusal(name, maps, rows, advice))


def _of_tokens(found: Sequence[Dominator], last: Dominator) -> LastFeatures:
    before = [one for one in found if one.place < last.place and len(one.shape) == _MAP]
    start = before[-1].place if before else -1
    first = next(one for one in found if one.place > start and one.shape == last.shape)
    vector = _pooled([one for one in found if one.place > last.place])
    return LastFeatures(last.cut, vector.cut if vector else None, before[-1].cut if before else None, first.cut.name)


def _pooled(after: Sequence[Dominator]) -> Dominator | None:
    """Returns the vector before the classifier, which is the last dense layers with what is between them.

    Args:
        after: the dominators after the tokens.
    """
    vectors: list[Dominator] = []
    for one in reversed(after):
        if len(one.shape) != _VECTOR:
            break
        vectors.append(one)
    if not vectors:
        return None
    pooled = vectors[0]
    for one, source in zip(vectors, [*vectors[1:], None], strict=True):
        if source is None or one.place - source.place > 1:
            # A dense layer that does not begin with a vector, or a branch, makes the vector itself.
            return pooled
        if one.node.work:
            pooled = source
    return pooled


def _refusal(name: str, maps: Sequence[Dominator], rows: Sequence[Dominator], advice: str) -> str:
    """Says which layers could be meant, and how much work each leaves out."""
    lasts = [("map", maps), ("tokens", rows)]
    parts = [
        f"{100 * found[-1].remaining_work:.0f} % of its work follows its last {word}, '{found[-1].node.name}'"
        for word, found in lasts
        if found
    ]
    layer = min((found[-1] for _, found in lasts if found), key=lambda one: one.remaining_work).node.name
    return f"{name}: {' and '.join(parts)}, and would be left out: {advice.format(layer=layer)}"
