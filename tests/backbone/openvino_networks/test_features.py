"""The map, the tokens and the pooled vector of a network are found in its graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank.backbone.openvino_networks.features import GraphFeatures, find_features
from featurebank.backbone.openvino_networks.graph import NodeGraph
from featurebank.backbone.outline import TokenLayout
from tests.backbone.openvino_networks.test_graph import read
from tests.support.onnx_networks import Network, cnn, vit


def found(graph: NodeGraph) -> GraphFeatures:
    features = find_features(graph)
    assert isinstance(features, GraphFeatures)
    return features


def name(graph: NodeGraph, place: int | None) -> str | None:
    return None if place is None else graph.nodes[place].name


def test_a_network_of_convolutions(tmp_path: Path) -> None:
    graph = read(cnn(), tmp_path, "head")
    features = found(graph)
    assert (name(graph, features.last), features.pooled, features.pooling) == ("relu2", None, "")
    assert features.after == pytest.approx(60 / (49 * 8 * 27 + 25 * 12 * 72 + 60))


def test_a_normalised_average(tmp_path: Path) -> None:
    net = cnn()
    net.dense(net.norm("flat", 12, "norm"), 12, 5, "head2")
    features = found(graph := read(net, tmp_path, "head2"))
    assert (name(graph, features.pooled), features.pooling) == ("norm", "normalised mean of patches")


def test_what_a_network_makes_of_its_average(tmp_path: Path) -> None:
    net = cnn()
    net.add("Relu", net.conv("pool", 12, 6, 1, "wide"), name="wide_relu")
    net.dense(net.add("Flatten", "wide_relu", name="flat2"), 6, 5, "head2")
    features = found(graph := read(net, tmp_path, "head2"))
    assert (name(graph, features.last), name(graph, features.pooled)) == ("relu2", "flat2")
    assert features.pooling == "output of 'flat2'"


@pytest.mark.parametrize(
    ("prefix", "pooling", "layout", "pooled", "words"),
    [
        (1, "class token", TokenLayout.of_grid((4, 4), 1, has_class_token=True), "pooled_token", "class token"),
        (5, "class token", TokenLayout.of_grid((4, 4), 5, has_class_token=True), "pooled_token", "class token"),
        (4, "mean of patches", TokenLayout.of_grid((4, 4), 4), "mean", "mean of patches"),
        (0, "mean of patches", TokenLayout.of_grid((4, 4)), "mean", "mean of patches"),
    ],
)
def test_a_transformer(prefix: int, pooling: str, layout: TokenLayout, pooled: str, words: str, tmp_path: Path) -> None:
    graph = read(vit(prefix=prefix, pooling=pooling), tmp_path, "head")
    features = found(graph)
    assert (name(graph, features.last), features.layout) == ("norm", layout)
    assert (name(graph, features.pooled), features.pooling) == (pooled, words)


@pytest.mark.parametrize(("prefix", "words"), [(1, "class token"), (0, "mean of patches")])
def test_a_transformer_that_pools_nothing(prefix: int, words: str, tmp_path: Path) -> None:
    features = found(read(vit(prefix=prefix), tmp_path, "norm"))
    assert (features.pooled, features.pooling) == (None, words)


def test_several_outputs(tmp_path: Path) -> None:
    """The one with the most work before it counts; others do not bypass the features."""
    graph = read(vit(), tmp_path, "block1", "norm", "head")
    assert name(graph, found(graph).last) == "norm"


def test_attention_pools(tmp_path: Path) -> None:
    net, width = vit(prefix=0), 8
    keys, values = (net.dense("norm", width, width, word) for word in ("pool_keys", "pool_values"))
    scores = net.add("Softmax", net.add("MatMul", net.random(1, 1, width), net.add("Transpose", keys, perm=[0, 2, 1])))
    pooled = net.dense(net.add("MatMul", scores, values), width, width, "pool")
    net.add("Squeeze", pooled, net.constant([1]), name="pool_flat")
    features = found(graph := read(net, tmp_path, "pool_flat"))
    assert (name(graph, features.last), name(graph, features.pooled)) == ("norm", "pool_flat")
    assert features.pooling == "attention"


def test_default_features_with_much_work_behind_are_refused(tmp_path: Path) -> None:
    net = cnn()
    net.dense(net.dense("flat", 12, 2000, "wide"), 2000, 3, "last")
    reason = find_features(read(net, tmp_path, "last"))
    assert isinstance(reason, str)
    assert reason.startswith(
        "48 % of its work follows or bypasses its last map, 'relu2': name the node that you mean as"
    )
    assert "'last' (3; 0 % left out)" in reason


def test_two_ways_that_never_meet_again_are_refused(tmp_path: Path) -> None:
    net = cnn()
    other = net.conv("image", 3, 12, 3, "other", strides=[2, 2])
    net.add("GlobalAveragePool", other, name="other_pool")
    net.add("Concat", "pool", "other_pool", axis=1, name="both")
    reason = find_features(read(net, tmp_path, "both"))
    assert isinstance(reason, str)
    assert "on every path" in reason


def test_an_output_without_the_image(tmp_path: Path) -> None:
    net = Network(["n", 3, 8, 8])
    net.add("Relu", net.random(2, 2), name="alone")
    net.add("Relu", "image", name="other")
    graph = read(net, tmp_path, "alone", "other")
    assert find_features(NodeGraph(graph.nodes, [])) == "no output depends on the image"
