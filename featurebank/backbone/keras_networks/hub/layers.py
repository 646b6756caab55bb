"""The classes of KerasHub's layers in featurebank's networks: KerasHub's own, with what copies of layers need.

Frozen networks are copied often: flattened, cut, joined with a head, saved as a .keras file. Each copy is created from
`get_config`, and several of KerasHub's layers list values there that their constructor does not accept, or omit
arguments that it needs, because KerasHub itself saves whole backbones only. So a copy of a layer is of a class of its
own, derived from KerasHub's and with its name. KerasHub's classes stay as they are: a program that uses KerasHub beside
featurebank sees no difference, and a file with these layers needs no featurebank to be loaded.

A correction here declares or computes what is right in each version of KerasHub, so it does no harm in one without the
fault.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from featurebank.backbone.keras_networks.hub.library import PACKAGE, import_keras_hub, own_classes

CONTAINERS = frozenset({
    "DeiTEncoder", "DINOV2Encoder", "DINOV3Encoder", "HGNetV2Encoder", "PatchEmbedding", "SwinTransformerStage",
    "ViTEncoder",
})  # fmt: skip
"""The layers that `parts` takes apart. They are never created again, and some have no readable configuration."""
_OF_EVERY_LAYER = ("name", "trainable", "dtype", "activity_regularizer")

# Arguments that a layer stores under another name than the constructor's.
_ATTRIBUTES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("HierarchicalTransformerEncoder", "sr_ratio"): lambda layer: layer.attn.sr_ratio,
    ("HierarchicalTransformerEncoder", "drop_prob"): lambda layer: layer.drop_prop,
    ("HierarchicalTransformerEncoder", "layer_norm_epsilon"): lambda layer: layer.norm1.epsilon,
    ("SwinTransformerBlock", "qkv_bias"): lambda layer: layer.attn.qkv_bias,
    ("SwinTransformerBlock", "dropout_rate"): lambda layer: layer.attn.proj_drop_rate,
    ("SwinTransformerBlock", "attention_dropout"): lambda layer: layer.attn.attn_drop_rate,
    ("SwinTransformerBlock", "drop_path"): lambda layer: getattr(layer.drop_path, "drop_prob", 0.0),
    ("SwinTransformerBlock", "act_layer"): lambda layer: _Missing,  # the backbone never sets these two
    ("SwinTransformerBlock", "norm_layer"): lambda layer: _Missing,
}


def is_of_package(kind: type) -> bool:
    """Returns whether a class is one of KerasHub's, or derived from it by `class_of_copies`."""
    return kind.__module__.startswith(f"{PACKAGE}.")


@functools.cache
def layer_classes() -> dict[str, type]:
    """Returns the classes of the layers that files may name, by their names and by their registered names.

    They are found in the package itself: what a file says about the place of a class decides nothing.
    """
    import_keras_hub()
    from keras.saving import get_registered_name

    classes = {name: kind for name, kind in own_classes().items() if name not in CONTAINERS}
    names = {get_registered_name(kind): kind for kind in classes.values()} | classes
    return {name: class_of_copies(kind) for name, kind in names.items()}


def class_of_copies(kind: Any) -> Any:
    """Returns the class of the copies of a layer: a derived one for KerasHub's layers, the class itself for others."""
    return kind if not is_of_package(kind) or issubclass(kind, _Copied) else _derived(kind)


@functools.cache
def _derived(kind: Any) -> Any:
    members: dict[str, Any] = {name: getattr(kind, name, None) for name in ("__module__", "__qualname__", "__doc__")}
    # The call builds a layer; some have no `build` of their own, about which Keras would warn when it loads them.
    members["get_build_config"] = _no_build_config
    if "get_config" in vars(kind):
        members["get_config"] = _complete_configuration(kind)
    for name, method in _CORRECTIONS.get(kind.__name__, {}).items():
        members[name] = functools.partialmethod(method, getattr(kind, name))
    return type(kind)(kind.__name__, (kind, _Copied), members)


def configuration_of(layer: Any) -> dict[str, Any]:
    """Returns the configuration from which a copy of a layer can be created."""
    return dict(class_of_copies(type(layer)).get_config(layer))


@contextmanager
def readable_graph(model: Any) -> Iterator[None]:
    """Lets the containers of a functional model say nothing of themselves, so that the model's graph can be read."""
    found = [
        vars(layer) for layer in model.operations if type(layer).__name__ in CONTAINERS and is_of_package(type(layer))
    ]
    for attributes in found:
        attributes["get_config"] = dict
    try:
        yield
    finally:
        for attributes in found:
            del attributes["get_config"]


class _Copied:
    """Marks the classes that `class_of_copies` has made."""


class _Missing:
    """Marks an argument that a layer does not store."""


def _complete_configuration(kind: Any) -> Callable[[Any], dict[str, Any]]:
    """Returns a `get_config` with exactly the arguments of the constructor."""
    parameters = inspect.signature(kind.__init__).parameters
    names = [name for name, one in parameters.items() if name != "self" and one.kind is not one.VAR_KEYWORD]
    has_options = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    accepted = {*names, *(_OF_EVERY_LAYER if has_options else ())}

    def get_config(layer: Any) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = kind.get_config(layer)
        for name in names:
            if name not in config:
                get = _ATTRIBUTES.get((kind.__name__, name))
                config[name] = get(layer) if get else getattr(layer, name, _Missing)
        return {name: value for name, value in config.items() if name in accepted and value is not _Missing}

    return get_config


def _no_build_config(layer: Any) -> None:
    """Says that a file need not build the layer before its call."""


def _siglip_shape(layer: Any, original: Any, input_shape: Any) -> tuple[int | None, ...]:
    """Corrects the shape that SigLIP's embedding declares: KerasHub (0.32) counts one token too many."""
    return (input_shape[0], layer.num_positions, layer.hidden_dim)


def _number_positions(layer: Any, original: Any, input_shape: Any) -> None:
    """Numbers CLIP's positions, which are all 0 in KerasHub (0.32) before it loads weights."""
    original(layer, input_shape)
    layer.position_ids.assign([range(layer.num_positions)])


def _merged_shape(layer: Any, original: Any, input_shape: Any) -> tuple[int | None, ...]:
    """Declares the shape of Swin's merged patches, which KerasHub (0.32) leaves open; its images are square."""
    side = -(-math.isqrt(input_shape[1]) // 2)
    return (input_shape[0], side * side, 2 * layer.dim)


def _save_positions(layer: Any, original: Any, store: Any) -> None:
    """Saves trained position embeddings: KerasHub (0.32) forgets them if they have become larger on average."""
    if layer.position_embedding_shape == layer.image_shape:
        layer.position_embeddings.assign(layer.interpolated_position_embeddings)
    original(layer, store)


def _attend_in_windows(layer: Any, original: Any, x: Any) -> Any:
    """Computes a block of Swin with a constant as its mask.

    KerasHub (0.32) writes the mask piece by piece at each call, with an operation that OpenVINO and TensorFlow Lite do
    not know. A version that makes it otherwise is left alone.
    """
    if "slice_update" not in original.__code__.co_names:
        return original(layer, x)
    from keras import ops

    of_swin = sys.modules[type(layer).__module__]
    (height, width), size, shift = layer.input_resolution, layer.window_size, layer.shift_size
    channels = x.shape[-1]
    maps = ops.reshape(layer.norm1(x), (-1, height, width, channels))
    maps = ops.roll(maps, (-shift, -shift), axis=(1, 2)) if shift else maps
    layer.attn.supports_masking, layer.attn.compute_mask = True, _no_mask
    windows, padded = of_swin.window_partition(maps, size)
    rows = layer.attn(ops.reshape(windows, (-1, size * size, channels)), mask=_window_mask(height, width, size, shift))
    maps = of_swin.window_reverse(ops.reshape(rows, (-1, size, size, channels)), size, *padded, channels)
    maps = ops.roll(maps, (shift, shift), axis=(1, 2)) if shift else maps
    x = x + layer.drop_path(ops.reshape(maps[:, :height, :width], (-1, height * width, channels)))
    return x + layer.drop_path(layer.mlp(layer.norm2(x)))


def _no_mask(inputs: Any, previous_mask: Any = None) -> None:
    """Says that Swin's attention uses up its mask, about which Keras would warn otherwise."""


def _window_mask(height: int, width: int, size: int, shift: int) -> np.ndarray | None:
    """Returns -100 for pairs of places that the shift has brought into one window, (windows, size**2, size**2)."""
    if not shift:
        return None
    regions = [np.searchsorted([side - size, side - shift], np.arange(side), side="right") for side in (height, width)]
    numbers = 3 * regions[0][:, None] + regions[1]
    numbers = np.pad(numbers, [(0, -side % size) for side in (height, width)])
    numbers = numbers.reshape(numbers.shape[0] // size, size, numbers.shape[1] // size, size)
    numbers = numbers.transpose(0, 2, 1, 3).reshape(-1, size * size)
    return np.where(numbers[:, None] != numbers[:, :, None], np.float32(-100), np.float32(0))


_CORRECTIONS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "SigLIPVisionEmbedding": {"compute_output_shape": _siglip_shape},
    "CLIPVisionEmbedding": {"build": _number_positions},
    "PatchMerging": {"compute_output_shape": _merged_shape},
    "DINOV2Embedding": {"save_own_variables": _save_positions},
    "SwinTransformerBlock": {"call": _attend_in_windows},
}
"""Methods of the derived classes, by the class and the name; each gets KerasHub's first."""
