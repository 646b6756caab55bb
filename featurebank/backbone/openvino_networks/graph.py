"""The graph of a network of OpenVINO: the nodes that depend on the image, with names, axes and work."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from featurebank.backbone.openvino_networks.axes import MAPS, TOKENS, VECTOR, axes_of
from featurebank.backbone.openvino_networks.work import multiply_adds
from featurebank.errors import ConfigError
from featurebank.system.model_files.trial import BATCH

_REFUSED = {
    "control flow": ("If", "Loop", "TensorIterator"),
    "state": ("ReadValue", "Assign"),
    "random numbers": ("RandomUniform", "Multinomial"),
    "the choice of boxes of a detection model": ("NonMaxSuppression", "MulticlassNms", "MatrixNms", "DetectionOutput"),
}
"""Prefixes of the types of operations that no backbone has."""
_MOST_BYTES = 4 << 30
"""Largest size of one node's output for one image, and of everything that is computed before the first image."""
_ENDLESS = 1 << 60


@dataclass(frozen=True)
class OpenVINONode:
    """An operation whose output depends on the image.

    Args:
        name: its name in the file, unique in the graph; empty if the file has no name for it.
        kind: the type of the operation.
        sources: the places of the nodes whose outputs it takes.
        shape: the shape of its first output, for `BATCH` images.
        axes: see `axes`.
        work: multiply-adds for one image.
        operation: the operation of OpenVINO.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    shape: tuple[int, ...]
    axes: str
    work: int
    operation: Any = field(repr=False, compare=False)

    @property
    def row(self) -> tuple[int, ...] | None:
        """The shape for one image, channels last; None if the first axis does not count the images."""
        if not self.shape or self.shape[0] != BATCH or self.operation.get_output_size() != 1:
            return None
        return tuple(self.shape[place] for place in self.order[1:])

    @property
    def order(self) -> tuple[int, ...]:
        """The order of the axes with channels last."""
        if self.axes == "nchw":
            return 0, 2, 3, 1
        return (0, 2, 1) if self.axes == "nct" else tuple(range(len(self.shape)))

    @property
    def is_feature(self) -> bool:
        """Whether it is a map, tokens or a vector of each image."""
        return self.axes in {*MAPS, *TOKENS, VECTOR} and self.row is not None


@dataclass(frozen=True)
class NodeGraph:
    """The nodes in topological order, the image first, and the places of the nodes that are outputs."""

    nodes: list[OpenVINONode]
    outputs: list[int]

    @property
    def named(self) -> dict[str, OpenVINONode]:
        """The nodes that can be taps, by name."""
        return {node.name: node for node in self.nodes[1:] if node.name and node.row}


def check_operations(model: Any, origin: str) -> None:
    """Refuses a network whose features do not depend on the pixels of an image alone, or not always in the same way.

    Raises:
        ConfigError: it has control flow, state, random numbers, or the last step of a detection model.
    """
    for operation in model.get_ordered_ops():
        kind = operation.get_type_name()
        what = next((word for word, kinds in _REFUSED.items() if kind.startswith(kinds)), None)
        if what:
            message = (
                f"{origin} has {what} ('{operation.get_friendly_name()}', {kind}): expected a network that computes "
                "the same steps for each image; export the part without it, which returns feature maps"
            )
            raise ConfigError(message)


def read_graph(model: Any, entry: Any, axes: str, origin: str, *, all_named: bool) -> NodeGraph:
    """Reads the graph of a network whose shapes were inferred for `BATCH` images.

    Args:
        model: the `openvino.Model`.
        entry: the operation whose output the network takes as its image.
        axes: the axes of that output.
        origin: the network's name in messages.
        all_named: whether the names of all operations are in the file, as in an .xml file; else only those of outputs
            with names are.

    Raises:
        ConfigError: the network has shapes that depend on the content of the image, or needs too much memory.
    """
    results = {result.input_value(0).get_node().get_name(): _output_name(result) for result in model.get_results()}
    places, names, constants = {entry.get_name(): 0}, _Names(), 0
    nodes = [OpenVINONode("", entry.get_type_name(), (), _shape(entry.output(0), origin), axes, 0, entry)]
    for operation in model.get_ordered_ops():
        kind, key = operation.get_type_name(), operation.get_name()
        inputs = [operation.input_value(place) for place in range(operation.get_input_size())]
        sources = [places.get(value.get_node().get_name()) for value in inputs]
        if kind in {"ShapeOf", "Result"} or all(source is None for source in sources):
            constants += 0 if kind in {"Constant", "Result"} or key in places else _constant_bytes(operation, origin)
            continue
        for port in range(1, operation.get_output_size()):
            _shape(operation.output(port), origin)
        shape, lengths = _shape(operation.output(0), origin), [_shape(value, origin) for value in inputs]
        known = [
            None if source is None else (nodes[source].axes, length)
            for source, length in zip(sources, lengths, strict=True)
        ]
        is_named = all_named or key in results or bool(operation.output(0).get_names())
        name = names.unique(results.get(key) or operation.get_friendly_name()) if is_named else ""
        work = multiply_adds(operation, lengths, shape) // BATCH
        places[key] = len(nodes)
        before = tuple(dict.fromkeys(source for source in sources if source is not None))
        nodes.append(OpenVINONode(name, kind, before, shape, axes_of(operation, known, shape), work, operation))
    if constants > _MOST_BYTES:
        raise _too_large(origin, constants, "before it sees an image")
    return NodeGraph(nodes, [places[key] for key in results if places.get(key)])


class _Names:
    """Names of taps: no colons, which the grammar of taps uses, and each once."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def unique(self, name: str) -> str:
        """Returns a name in the form of taps; a second one of the same form gets a number."""
        plain = re.sub(r":\d+$", "", name.strip()).replace(":", ".") or "unnamed"
        free, number = plain, 1
        while free in self._used:
            free, number = f"{plain}_{number}", number + 1
        self._used.add(free)
        return free


def _output_name(result: Any) -> str:
    """Returns the name of an output of the model."""
    source = result.input_value(0)
    names = {*source.get_names(), *result.output(0).get_names()}
    own = str(source.get_node().get_friendly_name())
    return own if own in names or not names else min(names)


def _shape(value: Any, origin: str) -> tuple[int, ...]:
    """Returns the shape of a node's output."""
    shape = value.get_partial_shape()
    if shape.is_dynamic:
        node = value.get_node()
        message = (
            f"{origin}: the shape of '{node.get_friendly_name()}' ({node.get_type_name()}) depends on the content of "
            "the image, as in a detection model: export the part without it, which returns feature maps"
        )
        raise ConfigError(message)
    lengths = tuple(int(length) for length in shape.to_shape())
    size = math.prod(lengths) * value.get_element_type().size // BATCH
    if size > _MOST_BYTES:
        raise _too_large(origin, size, "for an image")
    return lengths


def _constant_bytes(operation: Any, origin: str) -> int:
    """Returns the bytes of a node that does not depend on the image, and is not in the file itself."""
    total = 0
    for output in operation.outputs():
        shape = output.get_partial_shape()
        most = list(shape.get_max_shape()) if not shape.rank.is_dynamic else [_MOST_BYTES]
        total += math.prod(int(length) for length in most) * max(1, output.get_element_type().size)
    if total > _MOST_BYTES:
        raise _too_large(origin, total, "before it sees an image")
    return total


def _too_large(origin: str, size: int, when: str) -> ConfigError:
    amount = f"{size / 1e9:,.0f} GB" if size < _ENDLESS else "memory without limit"
    return ConfigError(f"{origin} takes {amount} in one step {when}: expected at most {_MOST_BYTES / 1e9:.0f} GB")
