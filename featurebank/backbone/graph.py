"""The graph of a functional Keras model: who follows whom, read from its public configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Graph:
    """The layers of a functional model.

    Args:
        order: all names, each after everything that it takes its input from.
        followers: for each name, the names that take its output.
    """

    order: list[str]
    followers: dict[str, list[str]]


def graph_of(model: Any) -> Graph:
    """Reads the graph of a functional Keras model."""
    entries = model.get_config()["layers"]
    followers: dict[str, list[str]] = {entry["name"]: [] for entry in entries}
    sources = {entry["name"]: set(_sources(entry["inbound_nodes"])) for entry in entries}
    for name, names in sources.items():
        for source in sorted(names):
            followers[source].append(name)
    return Graph(_topological(sources, followers), followers)


def leaf_layers(model: Any) -> Iterator[Any]:
    """Yields the layers in the order of `model.weights`, those of nested models one by one."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer


def _sources(value: Any) -> Iterator[str]:
    """Finds the tensors among the arguments of a layer's call; each says which layer it comes from."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]["keras_history"][0]
        else:
            yield from _sources(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _sources(part)


def _topological(sources: dict[str, set[str]], followers: dict[str, list[str]]) -> list[str]:
    """Kahn's algorithm; ties in the order of the configuration."""
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
