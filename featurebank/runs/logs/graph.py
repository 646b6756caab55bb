"""TensorBoard's graphs: of a Keras model, of a model file without building it, and of a head."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featurebank.backbone.keras_networks.graph import Graph, graph_of, graph_of_entries
from featurebank.runs.run import RunRecord
from featurebank.system.archive import open_archive
from featurebank.system.backing.directories import is_file


def model_graph(model: Any) -> bytes:
    """Returns TensorBoard's graph of a functional Keras model: one node per layer, with its class and output shape."""
    operations = {operation.name: operation for operation in model.operations}
    descriptions: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, operation in operations.items():
        shape = getattr(getattr(operation, "output", None), "shape", None)
        descriptions[name] = (type(operation).__name__, {} if shape is None else {"shape": list(shape[1:])})
    return _graph_of_layers(graph_of(model), descriptions)


def _graph_of_file(path: Path) -> bytes:
    """Returns TensorBoard's graph of a .keras file, without building the network."""
    with open_archive(path) as archive:
        entries = json.loads(archive.read("config.json"))["config"]["layers"]
    descriptions: dict[str, tuple[str, dict[str, Any]]] = {
        entry["name"]: (entry["class_name"], {}) for entry in entries
    }
    return _graph_of_layers(graph_of_entries(entries), descriptions)


def _graph_of_layers(graph: Graph, descriptions: Mapping[str, tuple[str, dict[str, Any]]]) -> bytes:
    sources: dict[str, list[str]] = {name: [] for name in graph.order}
    for name, followers in graph.followers.items():
        for follower in followers:
            sources[follower].append(name)
    return _graph([(name, descriptions[name][0], sources[name], descriptions[name][1]) for name in graph.order])


def run_graph(run: RunRecord) -> bytes:
    """Returns TensorBoard's graph of a run: the whole network of a fine-tune, or the part of a head after its tap."""
    if run.finetune and is_file(run.saved_path):
        return _graph_of_file(run.saved_path)
    nodes: list[_Node] = [(safe_name(run.tap), "Tap", [], {})]
    widths = run.params.get("hidden_units") or ()
    for place, units in enumerate(widths if isinstance(widths, list | tuple) else (widths,), 1):
        nodes.append((f"hidden_{place}", "Dense", [nodes[-1][0]], {"units": units}))
    nodes.append((safe_name(run.head), run.head, [nodes[-1][0]], dict(run.params)))
    nodes.append(("probabilities", "Softmax", [nodes[-1][0]], {}))
    return _graph(nodes)


_Node = tuple[str, str, list[str], dict[str, Any]]
"""Name, kind, sources, attributes."""


def _graph(nodes: Sequence[_Node]) -> bytes:
    """Returns a graph in TensorBoard's format."""
    from tensorboard.compat.proto.attr_value_pb2 import AttrValue
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.node_def_pb2 import NodeDef

    definitions = [
        NodeDef(
            name=name, op=kind, input=sources,
            attr={key: AttrValue(s=str(value).encode()) for key, value in attributes.items()},
        )
        for name, kind, sources, attributes in nodes
    ]  # fmt: skip
    return bytes(GraphDef(node=definitions).SerializeToString())


def safe_name(name: str) -> str:
    """Returns the name with characters replaced that directory names on some systems do not allow."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
