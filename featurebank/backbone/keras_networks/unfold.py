"""Flattens a functional Keras model onto another input: nested models become their layers, all layers are copies.

Layers of KerasHub that contain all blocks of a network become their blocks; see `hub.parts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from featurebank.backbone.keras_networks.calls import calls_of, revived
from featurebank.backbone.keras_networks.hub.layers import class_of_copies, configuration_of
from featurebank.backbone.keras_networks.hub.parts import expansion_of
from featurebank.errors import ConfigError


def is_functional(model: Any) -> bool:
    """Returns whether a Keras model is a readable graph of layers, not only code."""
    import keras

    return isinstance(model, keras.Sequential) or (isinstance(model, keras.Model) and hasattr(model, "operations"))


def unfold(model: Any, tensor: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    """Calls copies of a model's layers one by one.

    Args:
        model: a functional model, or a Sequential one with a known input, with one input and one output.
        tensor: a Keras tensor that replaces the model's input.

    Returns:
        The output as a Keras tensor, and pairs of each layer and its copy; the copies have no trained weights yet.

    Raises:
        ConfigError: a layer is used twice, is a Lambda, or cannot be copied.
    """
    copies: list[tuple[Any, Any]] = []
    used: set[str] = set()

    def named(name: str) -> str:
        """Returns the name, with a number appended if a layer of another nested model has it."""
        unique, number = name, 0
        while unique in used:
            number += 1
            unique = f"{name}_{number}"
        used.add(unique)
        return unique

    def part(operation: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        copy = _copy(operation, named(name))
        copies.append((operation, copy))
        return copy(*args, **kwargs)

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_functional(operation):
            return _walk(operation, args[0], call)
        if expand := expansion_of(operation):
            return expand(operation, part, *args, **kwargs)
        return part(operation, operation.name, *args, **kwargs)

    return _walk(model, tensor, call), copies


def _walk(model: Any, tensor: Any, call: Callable[..., Any]) -> Any:
    """Follows the graph of a model from its input to its output."""
    calls = calls_of(model)
    tensors: dict[str, Any] = {}
    for name in calls.order:
        node = calls.nodes[name]
        if node is None:
            tensors[name] = tensor
            continue
        args, kwargs = revived(node["args"], tensors), revived(node["kwargs"], tensors)
        tensors[name] = call(calls.operations[name], *args, **kwargs)
    return revived(calls.output, tensors)


def _copy(operation: Any, name: str) -> Any:
    """Creates a copy of a layer (or another operation) from its configuration."""
    if type(operation).__name__ == "Lambda":
        message = (
            f"'{operation.name}' is a Lambda layer, whose code a digest cannot identify: make it a layer class, or use "
            "functions of keras.ops"
        )
        raise ConfigError(message)
    kind = class_of_copies(type(operation))
    try:
        copy = kind.from_config({**configuration_of(operation), "name": name})
    except Exception as error:
        message = (
            f"layer '{operation.name}' of class {kind.__name__} cannot be created again from its configuration "
            f"({type(error).__name__}): give {kind.__name__} a get_config with all its arguments"
        )
        raise ConfigError(message) from error
    copy.name = name
    return copy
