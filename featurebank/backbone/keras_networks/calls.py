"""The calls of a functional Keras model, in order, so that its graph can be followed with other tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featurebank.backbone.keras_networks.graph import graph_of_entries
from featurebank.backbone.keras_networks.hub.layers import readable_graph
from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError


@dataclass(frozen=True)
class Calls:
    """Each layer or operation of a model with the arguments of its one call, as the configuration has them."""

    order: list[str]
    """All names in topological order."""
    nodes: Mapping[str, Mapping[str, Any] | None]
    """"args" and "kwargs" of each call; None for the input."""
    operations: Mapping[str, Any]
    output: Mapping[str, Any]
    """The only output, in the form in which the arguments refer to tensors."""


def calls_of(model: Any) -> Calls:
    """Reads the calls of a model.

    Args:
        model: a functional model, or a Sequential one with a known input, with one input and one output.

    Raises:
        ConfigError: a layer is used twice, or does not declare its arguments.
    """
    import keras

    # The same graph as a plain model: neither Sequential nor compiled, and its input is a bare tensor.
    plain = keras.Model(model.inputs[0], model.outputs[0])
    try:
        with readable_graph(plain):
            config = plain.get_config()
    except NotImplementedError as error:
        raise ConfigError(first_line(error)) from error
    nodes: dict[str, Any] = {}
    for entry in config["layers"]:
        name, calls = entry["name"], entry["inbound_nodes"]
        if len(calls) > 1:
            message = f"layer '{name}' is used {len(calls)} times: expected each once; use a separate layer each time"
            raise ConfigError(message)
        nodes[name] = calls[0] if calls else None
    layers = config["output_layers"]
    history = layers[0] if isinstance(layers[0], list | tuple) else layers
    output = {"class_name": "__keras_tensor__", "config": {"keras_history": history}}
    return Calls(
        graph_of_entries(config["layers"]).order,
        nodes,
        {operation.name: operation for operation in plain.operations},
        output,
    )


def revived(value: Any, tensors: Mapping[str, Any]) -> Any:
    """Restores the arguments of a call from their configuration.

    Args:
        value: an argument, or several in a list, a tuple or a dictionary.
        tensors: the outputs that take the place of the model's own, by the names of the layers.
    """
    import keras

    if isinstance(value, list | tuple):
        return type(value)(revived(part, tensors) for part in value)
    if not isinstance(value, dict):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        name, _, place = value["config"]["keras_history"]
        return tensors[name][place] if isinstance(tensors[name], list | tuple) else tensors[name]
    if kind is not None:
        return keras.saving.deserialize_keras_object(value)
    return {name: revived(part, tensors) for name, part in value.items()}
