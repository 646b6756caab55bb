"""The default features of plain graphs: never more than a tenth of the work follows them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.backbone.structure.features import MOST_LEFT_OUT, LastFeatures, last_features
from featurebank.backbone.structure.nodes import GraphNode as Node
from featurebank.errors import ConfigError

IMAGE, MAP, ROWS, VECTOR = (8, 8, 3), (4, 4, 6), (17, 6), (6,)
ADVICE = "cut at {layer}"


def chain(*parts: Any) -> list[Node]:
    """Returns nodes one after another, each from its name, shape and work, and perhaps what else it is."""
    names = [part[0] for part in parts[1:]]
    return [
        Node(part[0], part[1], part[2], [after] if after else [], **(part[3] if len(part) > 3 else {}))
        for part, after in zip(parts, [*names, ""], strict=True)
    ]


VIT = chain(
    ("image", IMAGE, 0), ("patch", MAP, 10), ("flat", (16, 6), 0), ("embedded", ROWS, 0), ("block", ROWS, 80),
    ("norm", ROWS, 0), ("first", VECTOR, 0, {"rearranges": True}), ("dense", (9,), 2), ("softmax", (9,), 0),
)  # fmt: skip


def features(nodes: list[Node]) -> LastFeatures:
    return last_features(nodes, "net", ADVICE)


def test_of_a_transformer() -> None:
    found = features(VIT)
    assert found.are_tokens
    assert (found.last.name, found.pooled.name, found.grid.name) == ("norm", "first", "patch")
    assert found.first_rows == "embedded"


def test_of_a_network_of_maps() -> None:
    nodes = chain(("image", IMAGE, 0), ("conv", MAP, 99), ("flat", (16, 6), 0), ("pool", VECTOR, 1), ("d", (9,), 1))
    assert features(nodes) == LastFeatures(features(nodes).last)
    assert features(nodes).last.name == "conv"


def test_what_is_selected_from_tokens_is_not_the_tokens() -> None:
    selects = {"rearranges": True}
    nodes = [*VIT[:5], *chain(("norm", ROWS, 0), ("patches", (16, 6), 0, selects), ("mean", VECTOR, 0))]
    assert features(nodes).last.name == "norm"
    assert features(nodes).pooled.name == "mean"


def test_dense_layers_in_a_branch_belong_to_the_pooling() -> None:
    """The multilayer perceptron of an attention pool is no classifier: something is added to its output."""
    end = [
        Node("pool", VECTOR, 3, ["hidden", "sum"]), Node("hidden", (24,), 1, ["out"]), Node("out", VECTOR, 1, ["sum"]),
        Node("sum", VECTOR, 0, ["hidden2"]), Node("hidden2", (5,), 1, ["act"]), Node("act", (5,), 0, ["classes"]),
        Node("classes", (9,), 1, []),
    ]  # fmt: skip
    nodes = [*VIT[:5], Node("norm", ROWS, 0, ["pool"]), *end]
    assert features(nodes).pooled.name == "sum", "before the last dense layers"
    assert features([*nodes[:9], Node("sum", VECTOR, 0, [])]).pooled.name == "sum", "without a classifier, the output"


def test_without_a_vector() -> None:
    assert features([*VIT[:5], Node("norm", ROWS, 0, [])]).pooled is None
    scores = [*VIT[:5], *chain(("norm", ROWS, 0), ("scores", (17, 9), 1, {"rearranges": True}), ("mean", (9,), 0))]
    assert features(scores).pooled.name == "mean"


def test_maps_of_operations_count_where_layers_have_none() -> None:
    operation = {"is_layer": False}
    nodes = chain(("image", IMAGE, 0), ("conv", MAP, 9), ("einsum", MAP, 90, operation), ("mean", VECTOR, 0))
    assert features(nodes).last.name == "einsum"
    nodes = chain(("image", IMAGE, 0), ("conv", MAP, 90), ("relu", MAP, 0, operation), ("mean", VECTOR, 0))
    assert features(nodes).last.name == "conv", "as it always was"


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([*VIT[:5], *chain(("norm", ROWS, 0), ("flat2", (102,), 0), ("dense", (99,), 900))],
         "net: 99 % of its work follows its last map, 'patch' and 91 % of its work follows its last tokens, 'norm', "
         "and would be left out: cut at norm"),
        (chain(("image", IMAGE, 0), ("conv", MAP, 50), ("flat", VECTOR, 0), ("dense", (9,), 50)), "50 % .*cut at conv"),
        (chain(("image", IMAGE, 0), ("flat", (192,), 0), ("dense", (9,), 5)), "net has no map and no tokens"),
    ],
)  # fmt: skip
def test_refusals(nodes: list[Node], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        features(nodes)
    assert "\n" not in str(caught.value)


@given(
    st.lists(st.tuples(st.sampled_from([MAP, ROWS, (16, 6), (1, 6), VECTOR]), st.integers(0, 20), st.booleans()),
             min_size=1, max_size=10)
)  # fmt: skip
def test_never_more_than_a_tenth_is_left_out(parts: list[tuple[tuple[int, ...], int, bool]]) -> None:
    nodes = chain(
        ("image", IMAGE, 0),
        *((str(place), shape, work, {"is_layer": layer}) for place, (shape, work, layer) in enumerate(parts)),
    )
    try:
        found = features(nodes)
    except ConfigError:
        return
    place = {node.name: index for index, node in enumerate(nodes)}
    total = sum(node.work for node in nodes)
    for cut in (found.last, *([found.pooled] if found.pooled else [])):
        assert sum(node.work for node in nodes[place[cut.name] + 1 :]) <= MOST_LEFT_OUT * total
    if found.pooled:
        assert place[found.pooled.name] > place[found.last.name]
