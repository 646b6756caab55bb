"""The same function with less work: where only some tokens are used, the layers before compute only these.

A classifier on the class token uses one row of the last block's output. Layers that act on each token by itself need
only that row of their input, and attention needs only the row's query; its keys and values need all tokens. So the
selection of the row moves towards the input, up to the keys and values of the last block. The function, its gradients
and the layers stay the same; only the order of summation may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featurebank.backbone.keras_networks.calls import Calls, calls_of, revived

_TOKENS_RANK = 3
_LARGEST_SHARE = 0.5
"""The largest part of the tokens with which the selection is worth moving."""
_ATTENTION = frozenset({"MultiHeadAttention", "GroupQueryAttention"})
_ALONE = frozenset(
    {"Activation", "Dense", "Dropout", "ELU", "Gelu", "Identity", "LayerNormalization", "LeakyReLU", "RMSNormalization",
     "ReLU", "Relu", "Sigmoid", "Silu", "Tanh"}
)  # fmt: skip
"""Classes of Keras that compute each token from the same token of their only input; see `_acts_on_tokens`."""
_TOGETHER = frozenset({"Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"})
"""Classes of Keras that compute each token from the same token of all their inputs."""
_SELECTIONS = frozenset({"GetItem", "Cropping1D"})
_TENSOR = "__keras_tensor__"
_QUERY, _UNMASKED = "query", {"query", "value", "key", "training"}


@dataclass(frozen=True)
class _Selection:
    """An operation of a model that selects the tokens from `start` to `stop`."""

    name: str
    source: str
    start: int
    stop: int
    tokens: int
    """The number of all tokens."""
    single: bool
    """Whether the operation drops the axis of the tokens."""

    def of(self, tensor: Any) -> Any:
        """Returns these tokens of all."""
        return tensor[:, self.start : self.stop]


@dataclass(frozen=True)
class _Needs:
    """The arguments of a call of which the selected tokens suffice, and those that it needs whole."""

    selected: Sequence[Any]
    whole: Sequence[Any] = ()


def with_early_selection(model: Any) -> Any:
    """Returns a model that computes the same with fewer rows, if its output depends on few tokens.

    Args:
        model: a functional Keras model with one input and one output.

    Returns:
        A model of the same layers (not copies); the model itself if no work can be saved.

    Raises:
        ConfigError: a layer is used twice, or does not declare its arguments.
    """
    if not any(type(operation).__name__ in _SELECTIONS for operation in model.operations):
        return model
    calls = calls_of(model)
    selection = next((found for name in calls.order if (found := _selection(calls, name))), None)
    if selection is None:
        return model
    whole = _whole(calls, selection)
    return model if selection.source in whole else _rebuilt(calls, selection, whole)


def _selection(calls: Calls, name: str) -> _Selection | None:
    """Returns which tokens an operation selects; None if it does something else, or selects most of them."""
    operation, node = calls.operations[name], calls.nodes[name]
    kind = type(operation).__name__
    if node is None or kind not in _SELECTIONS:
        return None
    source, shape = next(_tensors(node["args"]))
    if len(shape) != _TOKENS_RANK or shape[1] is None:
        return None
    tokens = shape[1]
    if kind == "Cropping1D":
        before, after = operation.cropping
        rows: Any = slice(before, tokens - after)
    else:
        rows = _rows_of(revived(node["args"][1], {}))
    single = isinstance(rows, int)
    start, stop, step = (slice(rows, rows + 1 or None) if single else rows).indices(tokens)
    if step != 1 or not 0 < stop - start <= _LARGEST_SHARE * tokens:
        return None
    return _Selection(name, source, start, stop, tokens, single)


def _rows_of(key: Any) -> int | slice:
    """Returns which tokens `tensor[key]` has; all of them for a key that does more than to select tokens."""
    everything = slice(None)
    if not isinstance(key, list | tuple) or len(key) < 2:  # noqa: PLR2004 - images and tokens
        return everything
    others = [key[0], *key[2:]]
    plain = all(isinstance(other, slice) and other == everything for other in others)
    return key[1] if plain and isinstance(key[1], int | slice) else everything


def _whole(calls: Calls, selection: _Selection) -> set[str]:
    """Returns the names of the calls whose outputs are needed with all tokens."""
    whole = {calls.output["config"]["keras_history"][0]}
    for name in reversed(calls.order):  # each after all that take its output
        node = calls.nodes[name]
        if node is None or name == selection.name:
            continue
        needs = None if name in whole else _needs(calls, name, selection.tokens)
        if needs is None:
            whole |= {name, *(source for source, _ in _tensors([node["args"], node["kwargs"]]))}
        else:
            whole |= {source for source, _ in _tensors(needs.whole)}
    return whole


def _needs(calls: Calls, name: str, tokens: int) -> _Needs | None:
    """Returns what a call needs for some tokens of its output; None if it needs all that it gets."""
    operation, node = calls.operations[name], calls.nodes[name]
    kind = type(operation).__name__
    if node is None or not type(operation).__module__.startswith("keras."):
        return None
    args, kwargs = node["args"], node["kwargs"]
    if kind in _ATTENTION:
        needs = _needs_of_attention(operation, args, kwargs)
    elif set(kwargs) <= {"training"} and (kind in _TOGETHER or (kind in _ALONE and _acts_on_tokens(operation))):
        needs = _Needs(args)
    else:
        needs = None
    if needs is None or any(len(s) != _TOKENS_RANK or s[1] != tokens for _, s in _tensors(needs.selected)):
        return None
    return needs


def _needs_of_attention(layer: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Needs | None:
    config = layer.get_config()
    plain = config.get("attention_axes") in (None, [1], (1,)) and not config.get("sliding_window")
    if not plain or len(args) > len(_UNMASKED) - 1 or any(kwargs[name] for name in set(kwargs) - _UNMASKED):
        return None
    query = [args[0]] if args else [kwargs[_QUERY]]
    return _Needs(query, [args[1:], {name: value for name, value in kwargs.items() if name != _QUERY}])


def _acts_on_tokens(layer: Any) -> bool:
    """Returns whether a layer of `_ALONE` has no option that lets it see several tokens."""
    config = layer.get_config() if hasattr(layer, "get_config") else {}
    axis = config.get("axis", -1)
    activation = getattr(layer, "activation", None)
    own = activation is None or getattr(activation, "__module__", "").startswith("keras.")
    return own and axis in (-1, 2, [-1], [2], (-1,), (2,)) and config.get("noise_shape") is None


def _rebuilt(calls: Calls, selection: _Selection, whole: set[str]) -> Any:
    """Calls the layers again, those that are not in `whole` with the selected tokens."""
    import keras

    tensors: dict[str, Any] = {}
    rows = _Rows(selection, tensors)
    for name in calls.order:
        node, operation = calls.nodes[name], calls.operations[name]
        if node is None:
            tensors[name] = operation.output
        elif name == selection.name:
            tensors[name] = rows[selection.source][:, 0] if selection.single else rows[selection.source]
        elif name in whole:
            tensors[name] = operation(*revived(node["args"], tensors), **revived(node["kwargs"], tensors))
        else:
            rows.selected[name] = _called_on_rows(operation, node, tensors, rows)
    inputs = next(calls.operations[name].output for name in calls.order if calls.nodes[name] is None)
    return keras.Model(inputs, revived(calls.output, tensors))


def _called_on_rows(operation: Any, node: Mapping[str, Any], tensors: Mapping[str, Any], rows: _Rows) -> Any:
    args, kwargs = node["args"], node["kwargs"]
    if type(operation).__name__ not in _ATTENTION:
        return operation(*revived(args, rows), **revived(kwargs, rows))
    if args:
        return operation(revived(args[0], rows), *revived(args[1:], tensors), **revived(kwargs, tensors))
    return operation(
        revived(kwargs[_QUERY], rows), **revived({k: v for k, v in kwargs.items() if k != _QUERY}, tensors)
    )


class _Rows(Mapping[str, Any]):
    """The selected tokens of each output: computed alone, or taken from all of them.

    Args:
        selection: which tokens.
        tensors: the outputs with all tokens, by name.
    """

    def __init__(self, selection: _Selection, tensors: Mapping[str, Any]) -> None:
        self._selection, self._tensors = selection, tensors
        self.selected: dict[str, Any] = {}
        """The outputs with the selected tokens alone, by name."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.selected:
            self.selected[name] = self._selection.of(self._tensors[name])
        return self.selected[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _tensors(value: Any) -> Iterator[tuple[str, Sequence[int | None]]]:
    """Yields the name of the layer and the shape of each tensor among the arguments of a call."""
    if isinstance(value, dict):
        if value.get("class_name") == _TENSOR:
            yield value["config"]["keras_history"][0], value["config"]["shape"]
        else:
            yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
