"""Networks from model files of ONNX and OpenVINO as backbones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from featurebank.backbone.network import Backbone
from featurebank.backbone.openvino_networks.axes import MAPS, TOKENS
from featurebank.backbone.openvino_networks.features import GraphFeatures, find_features
from featurebank.backbone.openvino_networks.graph import NodeGraph, OpenVINONode, check_operations, read_graph
from featurebank.backbone.openvino_networks.input_form import InputForm, put_in_front
from featurebank.backbone.openvino_networks.paths import NodePaths
from featurebank.backbone.openvino_networks.spec import FileNetwork
from featurebank.backbone.outline import CutPoint, Outline, ResolvedTap
from featurebank.backbone.taps import CLASS_TOKEN, CLS, MAP, POOLED, check_taps, parse_tap
from featurebank.backbone.taps import TOKENS as ALL_TOKENS
from featurebank.errors import ConfigError
from featurebank.system.imports.openvino import import_openvino, preserve_signal_stack
from featurebank.system.progress import step

_BYTES_FLOAT16 = 2


@dataclass(frozen=True)
class Examined:
    """A network that was read, with the preprocessing in front.

    Args:
        model: an `openvino.Model`: "image", (n, s, s, 3) uint8 RGB -> the outputs of the file.
        graph: its nodes.
        features: its features, or why it has none by default.
    """

    model: Any
    graph: NodeGraph
    features: GraphFeatures | str


class OpenVINOBackbone(Backbone):
    """A network from a file, which OpenVINO runs as it is: its nodes can be taps, but it cannot be trained."""

    form: ClassVar[str] = "openvino"
    libraries: ClassVar[tuple[str, ...]] = ("openvino",)
    spec: FileNetwork
    input: InputForm

    def check_tap(self, tap: str) -> None:
        """Checks the syntax of a tap, and refuses the network's own words if it has no features by default."""
        super().check_tap(tap)
        if parse_tap(tap).source in {POOLED, MAP, ALL_TOKENS, CLS} and isinstance(self.examined.features, str):
            message = f"tap '{tap}' of {self.spec.known_as}: {self.examined.features}"
            raise ConfigError(message)

    @property
    def examined(self) -> Examined:
        """The network; it is read from its file at the first use in a process."""
        if self._network is None:
            with step(f"reading {self.name}"):
                self._network = examine(
                    self.spec.file.read(self.image_size), self.input, self.image_size, self.spec.preprocessing,
                    self.spec.known_as, all_named=self.spec.file.path.suffix == ".xml",
                )  # fmt: skip
        return self._network  # type: ignore[no-any-return]  # the base class holds any kind

    def tap_graph(self, taps: Sequence[str]) -> Any:
        """Builds a graph that outputs several taps at once.

        Args:
            taps: see `featurebank.backbone.taps`.

        Returns:
            An `openvino.Model` with one input "image", (n, s, s, 3) uint8 RGB, and outputs "tap_0", "tap_1" … in the
            order of the taps, float32: maps (n, h, w, c), tokens (n, T, d), vectors (n, d).

        Raises:
            ConfigError: there is no tap, a tap is malformed, or the network does not have it.
            UnknownNameError: no node has this name.
        """
        check_taps(taps)
        openvino, outline, results = import_openvino(), self.outline(), []
        for place, tap in enumerate(taps):
            self.check_tap(tap)
            node, step = self.source_of(tap, outline)
            output = _after_step(openvino.opset13, _channels_last(openvino.opset13, node), step).output(0)
            output.get_tensor().add_names({f"tap_{place}"})
            results.append(openvino.opset13.result(output))
        with preserve_signal_stack():
            model = openvino.Model(results, self.examined.model.get_parameters(), f"{self.name}_taps").clone()
            model.reshape([-1, self.image_size, self.image_size, 3])
        return model

    def outline(self) -> Outline:
        """Returns the shapes of the nodes and the cut points; see `Backbone.outline`."""
        graph, features = self.examined.graph, self.examined.features
        shapes = {name: node.row or () for name, node in graph.named.items() if name not in {POOLED, MAP, CLS}}
        shapes.pop(ALL_TOKENS, None)
        if isinstance(features, str):
            return Outline(self._cuts(), shapes)
        last = graph.nodes[features.last].row or ()
        shapes[ALL_TOKENS if features.layout else MAP] = last
        if features.pooled is not None:
            shapes[POOLED] = graph.nodes[features.pooled].row or ()
        elif features.layout:
            shapes[POOLED] = last[-1:]
        return Outline(self._cuts(), shapes, features.layout)

    def layers(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the nodes that can be taps, each with the shape of its output for one image."""
        return [(name, node.row or ()) for name, node in self.examined.graph.named.items()]

    def _cuts(self) -> tuple[CutPoint, ...]:
        """Returns the named maps and tokens on every path to the last of them; of several without work, the last."""
        graph = self.examined.graph
        paths, found = NodePaths(graph), dict[tuple[Any, ...], CutPoint]()
        last = self.examined.features.last if isinstance(self.examined.features, GraphFeatures) else len(graph.nodes)
        for place in paths.main:
            node = graph.nodes[place]
            if place <= last and node.name and node.row and node.axes in {*MAPS, *TOKENS}:
                left = paths.after(place)
                cut = CutPoint(node.name, node.row, math.prod(node.row) * _BYTES_FLOAT16, left)
                if left < 1:
                    found[node.row, left] = cut
        return tuple(found.values())

    def source_of(self, tap: str, outline: Outline | None = None) -> tuple[OpenVINONode, ResolvedTap]:
        """Returns the node that a tap is made of, and what is done with its output, channels last.

        Args:
            tap: see `featurebank.backbone.taps`.
            outline: that of the network, if the caller has it.

        Raises:
            ConfigError, UnknownNameError: the network does not have the tap.
        """
        graph, features = self.examined.graph, self.examined.features
        found = (outline or self.outline()).resolve(tap, self.spec.layers_hint)
        if found.source not in {POOLED, MAP, ALL_TOKENS} or not isinstance(features, GraphFeatures):
            return graph.named[found.source], found
        pooled = found.source == POOLED
        place = features.last if not pooled or features.pooled is None else features.pooled
        if pooled and features.pooled is None and features.layout:
            word = "cls" if features.pooling == CLASS_TOKEN else "avg"
            found = ResolvedTap(found.tap, ALL_TOKENS, word, features.layout, found.shape)
        return graph.nodes[place], found


def examine(model: Any, form: InputForm, side: int, rule: str, origin: str, *, all_named: bool) -> Examined:
    """Puts the preprocessing in front of a network, and finds its features.

    Args:
        model: an `openvino.Model`; it is changed.
        form: what it takes.
        side: the side of the images in pixels.
        rule: the identifier of the preprocessing.
        origin: the network's name in messages.
        all_named: see `read_graph`.

    Raises:
        ConfigError: the network cannot be a backbone.
    """
    check_operations(model, origin)
    whole, entry = put_in_front(model, form, side, rule, origin)
    graph = read_graph(whole, entry, form.axes, origin, all_named=all_named)
    return Examined(whole, graph, find_features(graph))


def _channels_last(ops: Any, node: OpenVINONode) -> Any:
    """Returns a node's output as float32, channels last."""
    value = ops.convert(node.operation.output(0), "f32")
    if node.order == tuple(range(len(node.order))):
        return value
    return ops.transpose(value, ops.constant(np.array(node.order, np.int64)))


def _after_step(ops: Any, value: Any, tap: ResolvedTap) -> Any:
    """Adds the step of a tap to an output with channels last."""
    if tap.step is None:
        return value
    reduce: Callable[..., Any] = ops.reduce_max if tap.step == "max" else ops.reduce_mean
    if tap.layout is None:
        return reduce(value, ops.constant(np.array([1, 2], np.int64)), keep_dims=False)
    if tap.step == "cls":
        return ops.gather(value, ops.constant(np.int64(0)), ops.constant(np.int64(1)))
    if tap.layout.prefix:
        start, stop, by, axes = (
            ops.constant(np.array([number], np.int64)) for number in (tap.layout.prefix, tap.layout.count, 1, 1)
        )
        value = ops.slice(value, start, stop, by, axes)
    if tap.step == "map":
        return ops.reshape(value, ops.constant(np.array([0, *tap.shape], np.int64)), special_zero=True)
    return reduce(value, ops.constant(np.array([1], np.int64)), keep_dims=False)
