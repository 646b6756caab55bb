"""The nodes of a graph: their names, and networks that cannot be backbones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from featurebank.backbone.openvino_networks.graph import NodeGraph, check_operations, read_graph
from featurebank.backbone.openvino_networks.input_form import input_form, put_in_front
from featurebank.backbone.preprocess import TORCH
from featurebank.errors import ConfigError
from featurebank.system.imports.openvino import import_openvino
from tests.support.onnx_networks import Network, cnn, vit


def read(net: Network, path: Path, *outputs: str) -> NodeGraph:
    model = import_openvino().Core().read_model(net.save(path / "net.onnx", *outputs))
    check_operations(model, "net")
    form = input_form(model, "net")
    whole, entry = put_in_front(model, form, form.side or 16, TORCH, "net")
    return read_graph(whole, entry, form.axes, "net", all_named=False)


def test_nodes_have_the_names_of_the_file(tmp_path: Path) -> None:
    graph = read(cnn(), tmp_path, "head")
    assert list(graph.named) == ["conv1", "relu1", "conv2", "relu2", "pool", "flat", "head"]
    assert [graph.named[name].row for name in ("relu1", "relu2", "flat")] == [(7, 7, 8), (5, 5, 12), (12,)]
    assert [graph.named[name].work for name in ("conv1", "conv2", "head")] == [49 * 8 * 27, 25 * 12 * 72, 60]
    assert graph.nodes[graph.outputs[0]].name == "head"


def test_names_are_the_same_each_time(tmp_path: Path) -> None:
    first = list(read(vit(), tmp_path, "head").named)
    read(cnn(), tmp_path, "head")
    assert list(read(vit(), tmp_path, "head").named) == first


def test_names_have_no_colons_and_occur_once(tmp_path: Path) -> None:
    net = Network(["n", 3, 8, 8])
    value = net.conv("image", 3, 4, 3, "model/conv:0")
    value = net.add("Relu", value, name="model/conv:1")
    net.add("Sigmoid", value, name="aten::sigmoid")
    assert list(read(net, tmp_path, "aten::sigmoid").named) == ["model/conv", "model/conv_1", "aten..sigmoid"]


def branch(net: Network) -> str:
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    graphs = [
        helper.make_graph([helper.make_node(kind, ["image"], ["inner"])], kind, [], [value])
        for kind in ("Relu", "Sigmoid")
    ]
    total = net.add("ReduceSum", "image", keepdims=0)
    return net.add("If", net.add("Greater", total, net.constant(0.0, "float32")), then_branch=graphs[0],
                   else_branch=graphs[1], name="branch")  # fmt: skip


def boxes(net: Network) -> str:
    boxes = net.constant([[[0, 0, 1, 1]] * 3072], "float32")
    scores = net.add("Reshape", "image", net.constant([1, 1, -1]))
    chosen = net.add("NonMaxSuppression", boxes, scores, net.constant([10]), name="boxes")
    return net.add("Cast", chosen, to=TensorProto.FLOAT)


def positions(net: Network) -> str:
    return net.add("Cast", net.add("NonZero", "image", name="positions"), to=TensorProto.FLOAT)


def noise(net: Network) -> str:
    return net.add("Add", "image", net.add("RandomUniform", shape=[1, 3, 32, 32], name="noise"))


def constants(net: Network) -> str:
    total = net.add("ReduceSum", net.add("ConstantOfShape", net.constant([10**6, 10**6])), keepdims=0)
    return net.add("Add", "image", total)


def numbers(net: Network) -> str:
    first, last, step = (net.constant(value) for value in (0, 10**12, 1))
    total = net.add("ReduceSum", net.add("Range", first, last, step), keepdims=0)
    return net.add("Add", "image", net.add("Cast", total, to=TensorProto.FLOAT))


def tiles(net: Network) -> str:
    return net.add("Tile", "image", net.constant([1, 1, 10**5, 10**5]))


def padding(net: Network) -> str:
    return net.add("Pad", "image", net.constant([0, 0, 10**6, 10**6, 0, 0, 0, 0]))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (branch, r"control flow \('branch', If\)"),
        (boxes, r"the choice of boxes of a detection model \('boxes', NonMaxSuppression\)"),
        (noise, r"random numbers \('noise', RandomUniform\)"),
        (positions, r"the shape of 'positions' \(NonZero\) depends on the content of the image"),
        (constants, "takes 4,000 GB in one step before it sees an image: expected at most 4 GB"),
        (numbers, "in one step before it sees an image"),
        (tiles, "in one step for an image: expected at most 4 GB"),
        (padding, "in one step for an image: expected at most 4 GB"),
    ],
)
def test_networks_that_cannot_be_backbones(step: Any, reason: str, tmp_path: Path) -> None:
    net = Network(["n", 3, 32, 32])
    with pytest.raises(ConfigError, match=reason):
        read(net, tmp_path, step(net))
