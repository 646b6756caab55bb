"""Networks of PyTorch as backbones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.outline import CutPoint, Outline
from featurebank.backbone.spec import IMAGENET
from featurebank.backbone.taps import MAP, POOLED, TOKENS, check_taps
from featurebank.backbone.torch_networks.random import fill_with_random
from featurebank.backbone.torch_networks.recording import Recording, record
from featurebank.backbone.torch_networks.shapes import arranged
from featurebank.backbone.torch_networks.spec import TorchSpec
from featurebank.backbone.torch_networks.structure import cut_layers, patch_of, pooling_of
from featurebank.backbone.torch_networks.tap_module import make_tap_module
from featurebank.backbone.weights.files import first_line
from featurebank.errors import ConfigError
from featurebank.system.imports.torch import import_torch
from featurebank.system.progress import step

_BYTES_FLOAT16 = 2


def torch_backbone(spec: TorchSpec, options: BackboneOptions, image_size: int) -> TorchBackbone:
    """Makes the backbone of a network, and finds out how wide and how large it is and how it pools.

    Args:
        spec: the specification of the network, whose `channels`, `parameters` and `pooled_by` do not matter.
        options: what the user chose beside the name; its `image_size` and `preprocessing` do not matter.
        image_size: the side of the square input in pixels.

    Raises:
        ConfigError: the network cannot take images of this size, or an option does not fit it.
        WeightsError: the weights file does not exist.
    """
    with step(f"reading the layers of {spec.name}"):
        recording = _recorded(spec, image_size)
    spec = replace(
        spec, channels=recording.pooled_shape[-1], parameters=recording.parameters, pooled_by=pooling_of(recording),
        patch=patch_of(recording),
    )  # fmt: skip
    weights = spec.default_weights if options.weights in {None, IMAGENET} else options.weights
    backbone = TorchBackbone.of_options(spec, options, image_size, weights=weights)
    backbone._recording = recording
    return backbone


def _check_patches(spec: TorchSpec, patch: int, image_size: int) -> None:
    """Refuses a size of which the network would leave out the right and lower edge, unless it was made for that."""
    if patch and image_size % patch and image_size != spec.image_size:
        below = image_size // patch * patch
        sizes = f"{below} or {below + patch}" if below else str(patch)
        message = (
            f"image size {image_size} for {getattr(spec, 'known_as', spec.name)}: expected a multiple of its patches "
            f"of {patch} pixels, as {sizes}"
        )
        raise ConfigError(message)


def _recorded(spec: TorchSpec, image_size: int) -> Recording:
    torch = import_torch()
    try:
        with torch.device("meta"):
            module = spec.build(image_size)
    except (NotImplementedError, RuntimeError):  # its constructor looks at the values of tensors
        module = spec.build(image_size).to("meta")
    except AssertionError as error:
        message = f"{spec.name} cannot be built for images of {image_size} x {image_size} pixels ({first_line(error)})"
        raise ConfigError(message) from error
    recording = record(module.eval(), torch.empty(2, 3, image_size, image_size, device="meta"), spec)
    _check_patches(spec, patch_of(recording), image_size)
    return recording


class TorchBackbone(Backbone):
    """A network of PyTorch: its features can be extracted, by PyTorch or by OpenVINO.

    With the extra "timm"::

        network = fb.load_backbone("timm:vit_tiny_patch16_224", weights="random:0")
        network.tap_module(["pooled", "blocks.9"])(torch.zeros(2, 224, 224, 3))[1].shape  # (2, 197, 192)
    """

    form: ClassVar[str] = "pytorch"
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    spec: TorchSpec
    _outline: Outline | None = None
    _recording: Recording | None = None
    _channels_last: frozenset[str] = frozenset()
    """The layers, and "map", whose maps are (n, h, w, c); known with the outline."""

    def __getstate__(self) -> dict[str, Any]:
        """Excludes the network and what was read from it from pickles: a worker builds its own."""
        return {**super().__getstate__(), "_recording": None}

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
        check_taps(taps)
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
        if self._recording is None:
            self._recording = _recorded(self.spec, self.image_size)
        return self._recording

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
