"""Small networks as ONNX files, written node by node: tests need no library of networks for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


class Network:
    """A graph of ONNX under construction.

    Args:
        shape: the shape of the input "image"; None is any length.
        seed: of the random weights.
        dtype: the type of the input.
    """

    def __init__(self, shape: Sequence[int | str | None], seed: int = 0, dtype: int = TensorProto.FLOAT) -> None:
        self.inputs = [helper.make_tensor_value_info("image", dtype, list(shape))]
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._random = np.random.default_rng(seed)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Adds a constant; returns its name."""
        name = f"constant{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, *shape: int) -> str:
        """Adds random weights; returns their name."""
        return self.constant(self._random.normal(0, 0.3, shape), np.float32)

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Adds a node; returns the name of its output, which is the node's, too."""
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, value: str, before: int, after: int, side: int, name: str, **attributes: Any) -> str:
        """Adds a convolution with weights."""
        return self.add("Conv", value, self.random(after, before, side, side), name=name, **attributes)

    def norm(self, value: str, width: int, name: str) -> str:
        """Adds a layer normalisation."""
        return self.add("LayerNormalization", value, self.random(width), self.random(width), name=name, axis=-1)

    def dense(self, value: str, before: int, after: int, name: str) -> str:
        """Adds a product with weights."""
        return self.add("MatMul", value, self.random(before, after), name=name)

    def model(self, outputs: Sequence[str]) -> Any:
        """Returns the model with some of its nodes as outputs."""
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, values, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        made.ir_version = 8
        return made

    def save(self, path: Path, *outputs: str) -> Path:
        """Writes the model; returns the path."""
        path.write_bytes(self.model(outputs).SerializeToString())
        return path


def cnn(side: int | None = 16, batch: int | None = None) -> Network:
    """Two convolutions, an average and a classifier: nodes conv1, relu1, conv2, relu2, pool, flat, head."""
    net = Network([batch or "n", 3, side or "h", side or "w"])
    value = net.add("Relu", net.conv("image", 3, 8, 3, "conv1", strides=[2, 2]), name="relu1")
    value = net.add("Relu", net.conv(value, 8, 12, 3, "conv2"), name="relu2")
    value = net.add("Flatten", net.add("GlobalAveragePool", value, name="pool"), name="flat")
    net.dense(value, 12, 5, "head")
    return net


def vit(side: int = 16, *, prefix: int = 1, pooling: str = "class token", batch: int | None = None) -> Network:
    """A transformer with two blocks, and tokens of 4 x 4 pixels after others: nodes block1, block2, norm, head."""
    net, width = Network([batch or "n", 3, side, side]), 8
    value = net.add("Reshape", net.conv("image", 3, width, 4, "patches", strides=[4, 4]), net.constant([0, width, -1]))
    value = net.add("Transpose", value, perm=[0, 2, 1])
    if prefix:
        images = net.add("Shape", "image", start=0, end=1)
        shape = net.add("Concat", images, net.constant([prefix, width]), axis=0)
        others = net.add("Expand", net.random(1, prefix, width), shape)
        value = net.add("Concat", others, value, axis=1, name="tokens")
    for number in (1, 2):
        value = net.add("Add", value, _attention(net, net.norm(value, width, f"norm{number}a"), width, number))
        hidden = net.add("Relu", net.dense(net.norm(value, width, f"norm{number}b"), width, 16, f"up{number}"))
        value = net.add("Add", value, net.dense(hidden, 16, width, f"down{number}"), name=f"block{number}")
    value = net.norm(value, width, "norm")
    if pooling == "class token":
        value = net.add("Gather", value, net.constant(0), axis=1, name="pooled_token")
    elif pooling == "mean of patches":
        value = net.add("Slice", value, *(net.constant([number]) for number in (prefix, 10**9, 1)))
        value = net.add("ReduceMean", value, axes=[1], keepdims=0, name="mean")
    net.dense(value, width, 5, "head")
    return net


def _attention(net: Network, value: str, width: int, number: int) -> str:
    queries, keys, values = (net.dense(value, width, width, f"{word}{number}") for word in ("query", "key", "value"))
    scores = net.add("Softmax", net.add("MatMul", queries, net.add("Transpose", keys, perm=[0, 2, 1])), axis=-1)
    return net.dense(net.add("MatMul", scores, values, name=f"attention{number}"), width, width, f"projection{number}")


def run(model: Any, images: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
    """Returns inner nodes of a model from ONNX Runtime's own forward pass.

    Args:
        model: the model.
        images: as the model takes them.
        names: names of outputs of nodes.
    """
    import onnxruntime

    own, whole = {value.name for value in model.graph.output}, onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in own)
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(list(names), {session.get_inputs()[0].name: images})]
