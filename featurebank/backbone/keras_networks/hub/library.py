"""KerasHub, imported quietly, with layers that can be created again from their configuration.

Frozen networks are copied often: flattened, cut, joined with a head, saved as a .keras file. Each copy is created
from `get_config`, and several of KerasHub's layers list values there that their constructor does not accept, or omit
arguments that it needs, because KerasHub itself saves whole backbones only. `import_keras_hub` gives those classes a
complete `get_config`; nothing that they compute changes. Files that it helped to save need no featurebank to be loaded.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.system.progress import step
from featurebank.system.runtime import import_tensorflow
from featurebank.words import one_line

PACKAGE = "keras_hub"
FAMILIES = (
    "clip", "cspnet", "deit", "densenet", "dinov2", "dinov3", "efficientnet", "hgnetv2", "mit", "mobilenet", "resnet",
    "siglip", "swin_transformer", "vgg", "vit", "xception",
)  # fmt: skip
"""The sub-packages of `keras_hub.src.models` whose layers may be part of a backbone."""
_OF_EVERY_LAYER = ("name", "trainable", "dtype", "activity_regularizer")

CONTAINERS = frozenset({
    "DeiTEncoder", "DINOV2Encoder", "DINOV3Encoder", "HGNetV2Encoder", "PatchEmbedding", "SwinTransformerStage",
    "ViTEncoder",
})  # fmt: skip
"""The layers that `parts` takes apart; they are never created again, so their configuration says only their name."""

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


def import_keras_hub() -> Any:
    """Imports KerasHub without its log lines and warnings.

    Returns:
        The module `keras_hub`.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    import_tensorflow()
    with step("loading KerasHub"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import keras_hub
        except Exception as error:  # tensorflow_text refuses another version of TensorFlow with errors of its own
            message = f"KerasHub cannot be imported ({one_line(str(error), 200)}): pip install 'featurebank[keras-hub]'"
            raise MissingDependencyError(message) from error
    logging.getLogger("kagglehub").setLevel(logging.ERROR)
    _complete_layers()
    return keras_hub


def is_installed() -> bool:
    """Returns whether KerasHub is installed; does not import it."""
    return find_spec(PACKAGE) is not None


@functools.cache
def layer_classes() -> dict[str, type]:
    """Returns the layer classes that files may name, by their registered names, and completes their configurations.

    They are found in the package itself: what a file says about the place of a class decides nothing.
    """
    import_keras_hub()
    from keras.saving import get_registered_name

    return {get_registered_name(kind): kind for name, kind in _own_classes().items() if name not in CONTAINERS}


def _own_classes() -> dict[str, type]:
    import keras

    return {
        name: value
        for module in _modules()
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer) and value.__module__ == module.__name__
        and not issubclass(value, keras.Model)
    }  # fmt: skip


def _modules() -> Iterator[Any]:
    """Yields the modules with the layers of the families that are backbones."""
    import sys

    prefixes = tuple(f"{PACKAGE}.src.models.{family}." for family in FAMILIES)
    for name in sorted(sys.modules):
        if name.startswith(prefixes) and not name.endswith(("_preprocessor", "_converter", "_tokenizer", "_presets")):
            yield sys.modules[name]


@functools.cache
def _complete_layers() -> None:
    """Gives the layer classes a complete `get_config`, once a process."""
    import keras

    classes = _own_classes()
    for name, kind in classes.items():
        if original := kind.__dict__.get("get_config"):
            start = keras.layers.Layer.get_config if name in CONTAINERS else original
            kind.get_config = _completed(kind, start, complete=name not in CONTAINERS)  # type: ignore[attr-defined]
        # The call builds a layer; some have no `build` of their own, about which Keras would warn when it loads them.
        kind.get_build_config = _no_build_config  # type: ignore[attr-defined]
    _replace(classes["SigLIPVisionEmbedding"], "compute_output_shape", _siglip_shape)
    _replace(classes["CLIPVisionEmbedding"], "build", _number_positions)
    _replace(classes["PatchMerging"], "compute_output_shape", _merged_shape)
    _replace(classes["WindowAttention"], "compute_mask", _no_mask)
    _replace(classes["DINOV2Embedding"], "save_own_variables", _save_positions)


def _completed(
    kind: type, original: Callable[[Any], dict[str, Any]], *, complete: bool
) -> Callable[[Any], dict[str, Any]]:
    """Returns a `get_config` with exactly the arguments of the constructor."""
    parameters = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    names = [name for name, one in parameters.items() if name != "self" and one.kind is not one.VAR_KEYWORD]
    has_options = any(one.kind is one.VAR_KEYWORD for one in parameters.values())

    def get_config(layer: Any) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        config = original(layer)
        for name in names if complete else ():
            get = _ATTRIBUTES.get((kind.__name__, name))
            if get or name not in config:
                config[name] = get(layer) if get else getattr(layer, name, _Missing)
        accepted = {*names, *(_OF_EVERY_LAYER if has_options else ())}
        return {name: value for name, value in config.items() if name in accepted and value is not _Missing}

    return get_config


class _Missing:
    """Marks an argument that a layer does not store."""


def _no_build_config(layer: Any) -> None:
    """Says that a file need not build the layer before its call."""


def _replace(kind: Any, name: str, method: Callable[..., Any]) -> None:
    """Replaces a method; the new one gets the old one first."""
    setattr(kind, name, functools.partialmethod(method, getattr(kind, name)))


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


def _no_mask(layer: Any, original: Any, inputs: Any, mask: Any = None) -> None:
    """Declares that Swin's attention handles its mask, about which Keras would warn at each call."""


def _save_positions(layer: Any, original: Any, store: Any) -> None:
    """Saves trained position embeddings: KerasHub (0.32) forgets them if they have become larger on average."""
    if layer.position_embedding_shape == layer.image_shape:
        layer.position_embeddings.assign(layer.interpolated_position_embeddings)
    original(layer, store)
