"""Networks of PyTorch as backbones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from featurebank.backbone.network import Backbone
from featurebank.backbone.outline import CutPoint, Outline
from featurebank.backbone.taps import MAP, POOLED, TOKENS
from featurebank.backbone.torch_networks.random import fill_with_random
from featurebank.backbone.torch_networks.recording import Recording, record
from featurebank.backbone.torch_networks.shapes import arranged
from featurebank.backbone.torch_networks.spec import TorchSpec
from featurebank.backbone.torch_networks.structure import cut_layers
from featurebank.backbone.torch_networks.tap_module import make_tap_module
from featurebank.errors import ConfigError
from featurebank.system.imports.torch import import_torch
from featurebank.system.progress import step

_BYTES_FLOAT16 = 2


class TorchBackbone(Backbone):
    """A network of PyTorch: its features can be extracted, by PyTorch or by OpenVINO.

    Example:
        >>> network = fb.load_backbone("timm:vit_tiny_patch16_224", weights="random:0")  # doctest: +SKIP
        >>> network.tap_module(["pooled", "blocks.9"])(torch.zeros(2, 224, 224, 3))[1].shape  # doctest: +SKIP
        torch.Size([2, 197, 192])
    """

    form: ClassVar[str] = "pytorch"
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    spec: TorchSpec
    _outline: Outline | None = None
    _channels_last: frozenset[str] = frozenset()
    """The layers, and "map", whose maps are (n, h, w, c); known with the outline."""

    def module(self) -> Any:
        """Returns the network with its weights; the first call builds it.

        Returns:
            The `torch.nn.Module` of the library, in evaluation mode and without gradients, on the processor.

        Raises:
            WeightsError: the weights are missing, unreadable or of another network.
        """
        if self._network is None:
            with step(f"building {self.name}"):
                self._network = self._load()
        return self._network

    def tap_module(self, taps: Sequence[str]) -> Any:
        """Makes a module that computes several taps at once, preprocessing included.

        It can be traced by `torch.jit.trace` and `torch.export`. Several tap modules share the weights of one network.

        Args:
            taps: see `featurebank.backbone.taps`.

        Returns:
            A `torch.nn.Module` in evaluation mode: (n, s, s, 3) uint8 or float, RGB from 0 to 255 -> a tuple of float32
            tensors in the order of `taps`: maps are (n, h, w, c), tokens (n, T, d), vectors (n, d).

        Raises:
            ConfigError: there is no tap, or a tap is malformed or does not fit its layer.
            UnknownNameError: no layer has this name.
            WeightsError: the weights are missing, unreadable or of another network.
        """
        if isinstance(taps, str) or not taps:
            message = f"taps are {taps!r}: expected a list of one or more, as ['pooled']"
            raise ConfigError(message)
        resolved = [self.outline().resolve(tap, self.spec.layers_hint) for tap in taps]
        return make_tap_module(self.spec, self.module(), resolved, self._channels_last)

    def outline(self) -> Outline:
        """Returns the shapes of the layers and the cut points, without memory for weights; see `Backbone.outline`."""
        if self._outline is None:
            with step(f"reading the layers of {self.name}"):
                self._outline = self._read_outline()
        return self._outline

    def layers(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns the layers that can be taps, each with the shape of its output for one image."""
        return [(name, shape) for name, shape in self.outline().shapes.items() if name not in {POOLED, MAP, TOKENS}]

    def recording(self) -> Recording:
        """Returns what happens in one forward pass: the layers, their work, and the roles of their weights.

        The network runs on the device "meta": it computes shapes only, so that a large network takes no memory.
        """
        torch = import_torch()
        with torch.device("meta"):
            module = self.spec.build(self.image_size).eval()
            images = torch.empty(2, 3, self.image_size, self.image_size)
        return record(module, images, self.spec)

    def _read_outline(self) -> Outline:
        recording = self.recording()
        raw = {layer.name: layer.shape for layer in recording.layers if layer.calls == 1 and layer.shape}
        raw |= {POOLED: recording.pooled_shape}
        if recording.final_shape is not None:
            raw[MAP if recording.layout is None else TOKENS] = recording.final_shape
        shapes, last = {}, set()
        for name, shape in raw.items():
            axes = arranged(shape, is_channels_last=recording.is_channels_last)
            if axes is not None:
                shapes[name] = axes.shape
                last |= {name} if axes.is_channels_last else set()
        self._channels_last = frozenset(last)
        cuts = tuple(
            CutPoint(layer.name, shapes[layer.name], math.prod(layer.shape) * _BYTES_FLOAT16, layer.remaining_work)
            for layer in cut_layers(recording)
            if layer.name in shapes
        )
        return Outline(cuts, shapes, recording.layout)

    def _load(self) -> Any:
        import_torch()
        if self._source.seed is None:
            module = self.spec.load(self._source.file, self.image_size)
        else:
            module = self.spec.build(self.image_size)
            fill_with_random(module, self._source.seed, self.recording())
        return module.eval().requires_grad_(requires_grad=False)
