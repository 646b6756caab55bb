"""The module that computes taps of a network of PyTorch, from pixels to rows."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence, Set
from typing import Any

from featurebank.backbone.outline import ResolvedTap
from featurebank.backbone.preprocess import arithmetic
from featurebank.backbone.taps import MAP, POOLED, TOKENS
from featurebank.backbone.torch_networks.recording import first_tensor
from featurebank.backbone.torch_networks.spec import TorchSpec
from featurebank.system.imports.torch import import_torch

_TOKEN_AXES, _MAP_AXES = 3, 4


class _Captured(threading.local):
    """The outputs of layers in the forward pass that this thread is in; threads may share the module."""

    def __init__(self) -> None:
        self.outputs: dict[str, Any] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Captured:
        """Returns an empty one: converters copy modules."""
        return _Captured()


def make_tap_module(spec: TorchSpec, module: Any, taps: Sequence[ResolvedTap], channels_last: Set[str]) -> Any:
    """Makes the module; see `TorchBackbone.tap_module`.

    Args:
        spec: the specification of the network.
        module: the network with its weights; it gets hooks on the layers that are taps.
        taps: the taps as the outline of the network resolves them.
        channels_last: the sources of taps whose maps are (n, h, w, c) already.
    """
    torch = import_torch()
    does = arithmetic(spec.preprocessing)
    captured = _Captured()
    for layer in sorted({tap.source for tap in taps} - {POOLED, MAP, TOKENS}):
        module.get_submodule(layer).register_forward_hook(functools.partial(_capture, captured, layer))

    class TapModule(torch.nn.Module):  # type: ignore[misc, name-defined]  # PyTorch is imported when it is needed
        """Pixels to a tuple of taps."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module
            self.captured = captured
            self.register_buffer("scale", torch.tensor(does.scale).reshape(3, 1, 1), persistent=False)
            self.register_buffer("offset", torch.tensor(does.offset).reshape(3, 1, 1), persistent=False)

        def forward(self, images: Any) -> tuple[Any, ...]:
            pixels = images.permute(0, 3, 1, 2).to(self.scale.dtype)
            if does.is_bgr:
                pixels = pixels.flip(1)
            self.captured.outputs = {}
            try:
                final, pooled = spec.forward(self.network, pixels * self.scale + self.offset)
                outputs: Mapping[str, Any] = {TOKENS: final, MAP: final, POOLED: pooled, **self.captured.outputs}
            finally:
                self.captured.outputs = None
            return tuple(_row(tap, outputs[tap.source], tap.source in channels_last).float() for tap in taps)

    return TapModule().eval().requires_grad_(requires_grad=False)


def _row(tap: ResolvedTap, value: Any, is_channels_last: bool) -> Any:  # noqa: FBT001 - of the value before it
    """Returns the rows of a tap, (n, h, w, c), (n, T, d) or (n, d), from the output of its source."""
    if value.ndim == _MAP_AXES and not is_channels_last:
        value = value.permute(0, 2, 3, 1)
    if tap.step is None:
        return value
    if tap.step == "cls":
        return value[:, 0]
    if value.ndim == _TOKEN_AXES and tap.layout is not None:
        value = value[:, tap.layout.prefix :]
    if tap.step == "map":
        return value.reshape(-1, *tap.shape)
    axes = tuple(range(1, value.ndim - 1))
    return value.mean(axes) if tap.step == "avg" else value.amax(axes)


def _capture(captured: _Captured, layer: str, _module: Any, _inputs: Any, output: Any) -> None:
    """A forward hook: copies the output of a layer, because a later layer may change it in place."""
    if captured.outputs is not None:
        captured.outputs[layer] = first_tensor(output).clone()
