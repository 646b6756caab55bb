"""Flattens a functional Keras model onto another input: nested models become their layers, all layers are copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from featurebank.backbone.keras_networks.graph import graph_of
from featurebank.backbone.weights.files import first_line
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

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if is_functional(operation):
            return _walk(operation, args[0], call)
        copy = _copy(operation, named(operation.name))
        copies.append((operation, copy))
        return copy(*args, **kwargs)

    return _walk(model, tensor, call), copies


def _walk(model: Any, tensor: Any, call: Callable[..., Any]) -> Any:
    """Follows the graph of a model from its input to its output."""
    import keras

    # The same graph as a plain model: neither Sequential nor compiled, and its input is a bare tensor.
    plain = keras.Model(model.inputs[0], model.outputs[0])
    try:
        config = plain.get_config()
    except NotImplementedError as error:  # a layer class does not declare its arguments
        raise ConfigError(first_line(error)) from error
    nodes = {entry["name"]: entry["inbound_nodes"] for entry in config["layers"]}
    operations = {operation.name: operation for operation in plain.operations}
    tensors: dict[str, Any] = {}
    for name in _order(plain, nodes):
        if not nodes[name]:
            tensors[name] = tensor
            continue
        (node,) = nodes[name]
        tensors[name] = call(operations[name], *_revived(node["args"], tensors), **_revived(node["kwargs"], tensors))
    return _revived(_output(config["output_layers"]), tensors)


def _order(plain: Any, nodes: dict[str, list[Any]]) -> list[str]:
    for name, calls in nodes.items():
        if len(calls) > 1:
            message = f"layer '{name}' is used {len(calls)} times: expected each once; use a separate layer each time"
            raise ConfigError(message)
    return graph_of(plain).order


def _output(layers: list[Any]) -> dict[str, Any]:
    """Returns the only output of a model, in the form in which a call's arguments refer to tensors."""
    history = layers[0] if isinstance(layers[0], list | tuple) else layers
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}


def _revived(value: Any, tensors: dict[str, Any]) -> Any:
    """Restores the arguments of a call from their configuration, with tensors of the new graph."""
    import keras

    if isinstance(value, list | tuple):
        return type(value)(_revived(part, tensors) for part in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        name, _, place = value["config"]["keras_history"]
        return tensors[name][place] if isinstance(tensors[name], list | tuple) else tensors[name]
    if kind is not None:
        return keras.saving.deserialize_keras_object(value)
    return {name: _revived(part, tensors) for name, part in value.items()}


def _copy(operation: Any, name: str) -> Any:
    """Creates a copy of a layer (or another operation) from its configuration."""
    if type(operation).__name__ == "Lambda":
        message = (
            f"'{operation.name}' is a Lambda layer, whose code a digest cannot identify: make it a layer class, or use "
            "functions of keras.ops"
        )
        raise ConfigError(message)
    try:
        copy = type(operation).from_config({**operation.get_config(), "name": name})
    except Exception as error:
        kind = type(operation).__name__
        message = (
            f"layer '{operation.name}' of class {kind} cannot be created again from its configuration "
            f"({type(error).__name__}): give {kind} a get_config with all its arguments"
        )
        raise ConfigError(message) from error
    copy.name = name
    return copy
