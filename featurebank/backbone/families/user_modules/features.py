"""Where the features of a user's module are: its last map or tokens, and the vector before its classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone.families.user_modules.passes import channels_first, entry_of, observed, run_part
from featurebank.backbone.outline import TokenLayout
from featurebank.backbone.structure.features import last_features
from featurebank.backbone.structure.nodes import GraphNode
from featurebank.backbone.structure.probes import grid_of_image, pooling_of, prefix_of
from featurebank.backbone.taps import ATTENTION, CLASS_TOKEN, MEAN_OF_PATCHES
from featurebank.backbone.torch_networks.recording import LayerCall, Recording
from featurebank.backbone.torch_networks.shapes import arranged
from featurebank.backbone.torch_networks.spec import TorchFeatures
from featurebank.system.imports.torch import import_torch

_VECTOR, _ROWS, _MAP = 2, 3, 4
_ADVICE = "if you want that, return the output of '{layer}' from the module's forward"
_CLASS_WORDS = ("cls", "class")


@dataclass(frozen=True)
class FeaturePlaces:
    """Where the features of a module are.

    Args:
        last: the layer of the last map or of the tokens; empty if it is the output of the module.
        head: the layer of the classifier, whose input is `pooled`; empty if there is none.
        layout: the layout of the tokens; None for a map.
        pooling: see `BackboneSpec.pooling`.
        is_timm: whether the module has the methods of timm, and these give the features.
    """

    last: str = ""
    head: str = ""
    layout: TokenLayout | None = None
    pooling: str = ""
    is_timm: bool = False


def features_of(module: Any, images: Any, places: FeaturePlaces) -> TorchFeatures:
    """Computes the last features of a module, and its pooled vector.

    Args:
        module: a `torch.nn.Module`.
        images: (n, 3, s, s), preprocessed.
        places: where they are.
    """
    if places.is_timm:
        final = module.forward_features(images)
        return TorchFeatures(final, module.forward_head(final, pre_logits=True))
    with observed(module, outputs=[places.last], inputs=[places.head]) as seen:
        output = module(images)
    final = seen[places.last] if places.last else output
    if places.head:
        return TorchFeatures(final, seen[f"input of {places.head}"])
    if final.ndim == _MAP:
        return TorchFeatures(final, final.mean((2, 3)))
    if output.ndim == _VECTOR:
        return TorchFeatures(final, output)
    return TorchFeatures(final, final[:, places.layout.prefix if places.layout else 0 :].mean(1))


def find_places(module: Any, recording: Recording, origin: str, size: int) -> FeaturePlaces:
    """Finds out where the features of a module are.

    Args:
        module: the module in evaluation mode, with its weights.
        recording: one pass of it whose `pooled` is its output.
        origin: its name in messages.
        size: the side of its square input in pixels.

    Raises:
        ConfigError: it has neither a map nor tokens, or much of its work follows them.
    """
    output = len(recording.pooled_shape) + 1
    last = ""
    if output == _VECTOR:
        last = last_features(_nodes(recording), origin, _ADVICE).last.name
    places = FeaturePlaces(last, _head(recording) if output == _VECTOR else "")
    images = import_torch().zeros(2, 3, size, size)
    final, pooled = features_of(module, images, places)
    if places.head and pooled.ndim != _VECTOR:
        places = FeaturePlaces(last)
    if final.ndim == _MAP:
        return FeaturePlaces(
            last, places.head, pooling=f"input of '{places.head}'" if _is_other(module, size, places) else ""
        )
    layout = _layout(module, size, final.shape[1], final.shape[2])
    pooling = MEAN_OF_PATCHES if output == _ROWS else _pooling(module, size, places, layout, final.shape[2])
    if layout.grid is None and pooling == CLASS_TOKEN:
        layout = TokenLayout(1, has_class_token=True, grid=None, patches=layout.patches - 1)
    is_class = layout.prefix > 0 and (pooling.startswith(CLASS_TOKEN) or _names_class(module))
    layout = TokenLayout(layout.prefix, has_class_token=is_class, grid=layout.grid, patches=layout.patches)
    return FeaturePlaces(last, places.head, layout, pooling)


def find_timm_places(module: Any, size: int) -> FeaturePlaces:
    """Returns the places of a module with timm's methods, from timm's attributes.

    Args:
        module: the module in evaluation mode, with its weights.
        size: the side of its square input in pixels.
    """
    final = features_of(module, import_torch().zeros(1, 3, size, size), FeaturePlaces(is_timm=True)).final
    if final.ndim != _ROWS:
        return FeaturePlaces(is_timm=True)
    prefix = int(getattr(module, "num_prefix_tokens", 0))
    patches = final.shape[1] - prefix
    side = math.isqrt(patches)
    grid = (side, side) if side * side == patches else None
    layout = TokenLayout(prefix, has_class_token=prefix > 0 and _names_class(module), grid=grid, patches=patches)
    return FeaturePlaces(
        layout=layout, pooling=_pooling(module, size, FeaturePlaces(is_timm=True), layout, final.shape[2]), is_timm=True
    )


def _nodes(recording: Recording) -> list[GraphNode]:
    """Returns the operations of a pass as nodes; those that end a module have its name and shape."""
    layers: dict[int, LayerCall] = {}
    for layer in recording.layers:
        if layer.calls == 1 and layer.shape and layer.operation is not None:
            known = layers.get(id(layer.operation))
            if known is None or layer.name.count(".") < known.name.count("."):
                layers[id(layer.operation)] = layer
    names = {
        id(one): layers[id(one)].name if id(one) in layers else f"operation {index}"
        for index, one in enumerate(recording.operations)
    }
    nodes = []
    for one in recording.operations:
        call = layers.get(id(one))
        followers = [names[id(after)] for after in one.followers if id(after) in names]
        nodes.append(GraphNode(names[id(one)], _shape(call), one.work, followers, is_layer=call is not None))
    return nodes


def _shape(layer: LayerCall | None) -> tuple[int, ...] | None:
    """Returns the shape of a layer's output with the channels last; None where it has no places."""
    found = arranged(layer.shape, is_channels_last=False) if layer else None
    is_pooled = found is not None and len(found.shape) == _MAP - 1 and found.shape[:2] == (1, 1)
    return None if found is None or is_pooled else found.shape


def _head(recording: Recording) -> str:
    """Returns the name of the last linear layer, if no other work follows it; it is the classifier."""
    linear = [layer for layer in recording.layers if layer.kind == "Linear" and layer.calls == 1]
    return linear[-1].name if linear and linear[-1].remaining_work <= 0 else ""


def _is_other(module: Any, size: int, places: FeaturePlaces) -> bool:
    """Returns whether the pooled vector is something other than the average of the map."""
    torch = import_torch()
    generator = torch.Generator().manual_seed(0)
    final, pooled = features_of(module, torch.rand(2, 3, size, size, generator=generator), places)
    mean = final.mean((2, 3))
    return bool(pooled.shape != mean.shape or not torch.allclose(pooled, mean, rtol=1e-4, atol=1e-5))


def _layout(module: Any, size: int, rows: int, width: int) -> TokenLayout:
    """Returns the layout of tokens: which of them depend on which patch of the image, before the first block."""
    entry, patches = entry_of(module, size, rows, width)
    grid, prefix = None, 0
    if entry and patches is None:
        found = grid_of_image(lambda images: run_part(module, channels_first(images), entry=entry), size, rows)
        grid, prefix = found or (None, 0)
    elif entry and patches:
        layer, (channels, height, across) = patches

        def embed(maps: np.ndarray) -> np.ndarray:
            images = np.zeros((len(maps), 3, size, size), np.float32)
            return run_part(module, images, entry=entry, put=(layer, channels_first(maps)))

        first = prefix_of(embed, (height, across), channels)
        grid, prefix = ((height, across), first) if first is not None else (None, 0)
    return TokenLayout(prefix, has_class_token=False, grid=grid, patches=rows - prefix)


def _pooling(module: Any, size: int, places: FeaturePlaces, layout: TokenLayout, width: int) -> str:
    """Returns how the vector follows from the tokens, by trying."""

    def pool(tokens: np.ndarray) -> np.ndarray:
        torch = import_torch()
        if places.is_timm:
            with torch.no_grad():
                return np.asarray(module.forward_head(torch.from_numpy(tokens), pre_logits=True).numpy())
        images = np.zeros((len(tokens), 3, size, size), np.float32)
        return run_part(module, images, entry=places.head, put=(places.last, tokens))

    words = pooling_of(pool, layout.count, width, layout.prefix)
    if not words and places.is_timm:
        return ATTENTION if getattr(module, "attn_pool", None) is not None else "own layers"
    return words or (f"input of '{places.head}'" if places.head else "own layers")


def _names_class(module: Any) -> bool:
    names = [name.rpartition(".")[2] for name, _ in module.named_parameters()]
    return any(name.startswith(_CLASS_WORDS) for name in names)
