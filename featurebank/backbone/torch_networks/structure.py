"""What a recorded forward pass says of a network: its cut points, how it pools, and the roles of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from featurebank.backbone import taps
from featurebank.backbone.torch_networks.recording import LayerCall, Operation, Recording

OWN_LAYERS = "own layers"
"""`pooled` is made by layers of the network that are none of the poolings of `backbone.taps`."""
_LAYOUT_ONLY = frozenset({
    "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "clone", "contiguous", "alias", "expand", "squeeze",
    "unsqueeze", "flatten", "detach", "_to_copy", "dropout", "_reshape_alias", "lift_fresh",
})  # fmt: skip
"""Operations that change no value."""
_PARTS = frozenset({"slice", "select", "unbind", "split", "split_with_sizes", "chunk", "index", "narrow"})
_MEANS = frozenset({"mean", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "avg_pool2d"})
_ADDITIONS = frozenset({"add", "add_"})
_PRODUCTS = frozenset({"mul", "mul_"})
_ACTIVATIONS = frozenset({
    "relu", "relu_", "silu", "silu_", "gelu", "hardswish", "hardswish_", "hardtanh", "hardtanh_", "leaky_relu",
    "leaky_relu_", "elu", "elu_", "mish", "mish_", "clamp_min", "clamp_min_", "relu6",
})  # fmt: skip
_GATES = frozenset({"sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"})
_NORMS = frozenset({
    "native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "batch_norm", "native_layer_norm",
    "native_group_norm",
})  # fmt: skip
_SOFTMAX = frozenset({"_softmax", "softmax", "_safe_softmax"})


def cut_layers(recording: Recording) -> list[LayerCall]:
    """Returns the useful cut points: layers on every path from the image to the last features.

    Where several modules end in the same output, the outermost member of a sequence ("blocks.11") is listed, or else
    the outermost. In a run of cut points without work and changes of shape between them, only the last one is listed,
    and also each member of a sequence.
    """
    on_every_path = set(map(id, _dominators(recording)))
    layers: dict[int, LayerCall] = {}
    for layer in recording.layers:
        if id(layer.operation) in on_every_path and layer.shape and layer.calls == 1 and layer.remaining_work < 1:
            known = layers.get(id(layer.operation))
            if known is None or _rank(layer) < _rank(known):
                layers[id(layer.operation)] = layer
    found = list(layers.values())
    return [
        layer
        for layer, following in zip(found, [*found[1:], None], strict=True)
        if _is_member(layer)
        or following is None
        or (following.shape, following.remaining_work) != (layer.shape, layer.remaining_work)
    ]


def pooling_of(recording: Recording) -> str:
    """Returns how a network makes `pooled`: a word of `BackboneSpec.pooling`.

    Returns:
        "" if `pooled` is the average of the map; "class token", "mean of patches", "mean of tokens", "normalised mean
        of patches" or "attention"; "own layers" for everything else.
    """
    layout = recording.layout
    steps = list(_way_back(recording.pooled, recording.final))
    names = {step.name for step in steps}
    if steps and steps[-1] is recording.final and not any(step.parameters for step in steps[:-1]):
        if not names & _MEANS and layout is not None and layout.has_class_token:
            return taps.CLASS_TOKEN if names & _PARTS else OWN_LAYERS
        if names & _MEANS:
            return "" if layout is None else _mean_word(layout.prefix, skips=bool(names & _PARTS))
    before = set(_ancestors(recording.pooled))
    inner = before - set(_ancestors(recording.final)) if recording.final else set()
    return taps.ATTENTION if any(step.name in _SOFTMAX for step in inner) else OWN_LAYERS


def patch_of(recording: Recording) -> int:
    """Returns the side of the patches into which a network of tokens cuts the image itself; 0 if it does not.

    An edge of the image that fills no patch is left out. A network that pads the image first loses nothing.
    """
    followers = recording.image.followers if recording.layout is not None else []
    return max((operation.kernel for operation in followers), default=0)


@dataclass(frozen=True)
class Roles:
    """What random weights depend on, by the names of parameters.

    Args:
        ends: parameters of the last layers of residual branches.
        gates: parameters of layers whose output opens and closes other channels.
        activated: parameters of layers with an activation after them.
    """

    ends: frozenset[str]
    gates: frozenset[str]
    activated: frozenset[str]


def roles_of(recording: Recording) -> Roles:
    """Returns the roles of a network's parameters."""
    ends: set[str] = set()
    gates: set[str] = set()
    activated: set[str] = set()
    for operation in recording.operations:
        if operation.name in _ADDITIONS and len(operation.sources) > 1:
            branches = [branch for source in operation.sources if (branch := _branch(source, operation))]
            if len(branches) < len(operation.sources):  # a sum of two branches is no residual
                ends.update(*(branch.parameters for branch in branches))
        elif operation.name in _GATES and any(after.name in _PRODUCTS for after in _following(operation)):
            for maker in filter(None, map(_weighted, operation.sources)):
                gates |= maker.parameters
        elif operation.name in _ACTIVATIONS:
            for maker in filter(None, map(_weighted, operation.sources)):
                activated |= maker.parameters
                if maker.name in _NORMS:
                    for before in filter(None, map(_weighted, maker.sources)):
                        activated |= before.parameters
    return Roles(frozenset(ends), frozenset(gates), frozenset(activated))


def _rank(layer: LayerCall) -> tuple[bool, int]:
    return not _is_member(layer), layer.name.count(".")


def _is_member(layer: LayerCall) -> bool:
    return layer.name.rpartition(".")[2].isdigit()


def _dominators(recording: Recording) -> Iterator[Operation]:
    """Yields the operations on every path from the image to the end.

    In the order in which operations ran, one is on every path if and only if no result from before it is used after it.
    """
    end = recording.final or recording.pooled
    needed = set(map(id, _ancestors(end)))
    order = [operation for operation in recording.operations if id(operation) in needed]
    place = {id(operation): index for index, operation in enumerate(order)}
    reach = 0
    for index, operation in enumerate(order):
        if reach <= index:
            yield operation
        reach = max([reach, *(place[id(after)] for after in operation.followers if id(after) in place)])


def _ancestors(operation: Operation | None) -> Iterator[Operation]:
    """Yields an operation and everything that it depends on."""
    waiting, seen = [operation] if operation else [], set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting.extend(one.sources)


def _way_back(operation: Operation, target: Operation | None) -> Iterator[Operation]:
    """Yields the operations from one back to another, as long as each has one source."""
    while True:
        yield operation
        if operation is target or len(operation.sources) != 1:
            return
        operation = operation.sources[0]


def _mean_word(prefix: int, *, skips: bool) -> str:
    return taps.MEAN_OF_PATCHES if skips or not prefix else taps.MEAN_OF_TOKENS


def _weighted(operation: Operation) -> Operation | None:
    """Returns the operation with weights that made a value, apart from changes of its layout; None if none did."""
    operation = _without_layout(operation)
    return operation if operation.parameters else None


def _without_layout(operation: Operation) -> Operation:
    while operation.name in _LAYOUT_ONLY and len(operation.sources) == 1:
        operation = operation.sources[0]
    return operation


def _following(operation: Operation) -> Iterator[Operation]:
    """Yields the operations that take a value, apart from changes of its layout."""
    for after in operation.followers:
        if after.name in _LAYOUT_ONLY:
            yield from _following(after)
        else:
            yield after


def _branch(addend: Operation, addition: Operation) -> Operation | None:
    """Returns the last operation with weights of a branch that ends in an addition; None if none does."""
    maker = _weighted(addend)
    if maker is not None and all(after is addition for after in _following(maker)):
        return maker
    addend = _without_layout(addend)
    if addend.name in _PRODUCTS and len(addend.sources) > 1:  # by a gate
        others = [source for source in addend.sources if _without_layout(source).name not in _GATES]
        return _weighted(others[0]) if len(others) == 1 else None
    return None
