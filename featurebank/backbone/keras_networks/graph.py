"""The graph of a functional Keras model, read from its public configuration."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary


@dataclass(frozen=True)
class Graph:
    """The layers of a functional model and their connections.

    Args:
        order: all names in topological order, each after its inputs.
        followers: for each name, the names of the layers that take its output.
    """

    order: list[str]
    followers: dict[str, list[str]]


def graph_of(model: Any) -> Graph:
    """Reads the graph of a functional Keras model; the same model is read again only if layers were renamed."""
    names = [operation.name for operation in model.operations]
    known = _GRAPHS.get(model)
    if known is None or known[0] != names:  # the configuration of all layers takes a second for large networks
        known = _GRAPHS[model] = names, graph_of_entries(model.get_config()["layers"])
    return known[1]


def graph_of_entries(entries: Sequence[Mapping[str, Any]]) -> Graph:
    """Reads the graph of a functional Keras model from the entries "layers" of its configuration."""
    followers: dict[str, list[str]] = {entry["name"]: [] for entry in entries}
    sources = {entry["name"]: set(_sources(entry["inbound_nodes"])) for entry in entries}
    for name, names in sources.items():
        for source in sorted(names):
            followers[source].append(name)
    return Graph(_topological(sources, followers), followers)


_GRAPHS: WeakKeyDictionary[Any, tuple[list[str], Graph]] = WeakKeyDictionary()
"""The graphs of models that were read, with the names of their layers at that time."""


def output_of(model: Any, name: str) -> Any:
    """Returns the output of a layer or of an operation, such as an addition by "+", as a Keras tensor."""
    return next(operation.output for operation in model.operations if operation.name == name)


def leaf_layers(model: Any) -> Iterator[Any]:
    """Yields the layers in the order of `model.weights`; those of nested models are yielded one by one."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer


def name_as_in_new_process(model: Any) -> None:
    """Renames the layers that Keras numbered by a process-wide counter.

    A layer that is `conv2d_93` in the first network of a process would be `conv2d_187` in the second, but a tap must
    mean the same layer everywhere.
    """
    groups: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    for operation in model.operations:
        base = snake_case(type(operation).__name__)
        if match := re.fullmatch(rf"{base}(?:_(\d+))?", operation.name):
            groups[base].append((int(match[1] or 0), operation))
    for base, numbered in groups.items():
        for number, (_, operation) in enumerate(sorted(numbered, key=lambda pair: pair[0])):
            operation.name = f"{base}_{number}" if number else base


def _sources(value: Any) -> Iterator[str]:
    """Yields the names of the layers whose tensors are among the arguments of a layer's call."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from _sources(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _sources(part)


def _topological(sources: dict[str, set[str]], followers: dict[str, list[str]]) -> list[str]:
    """Sorts names by Kahn's algorithm; ties keep the order of the configuration."""
    waiting = {name: len(names) for name, names in sources.items()}
    ready = [name for name, count in waiting.items() if count == 0]
    order = []
    while ready:
        name = ready.pop(0)
        order.append(name)
        for follower in followers[name]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    return order


def snake_case(name: str) -> str:
    """Turns a class name into Keras's default layer name, as BatchNormalization -> batch_normalization."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
