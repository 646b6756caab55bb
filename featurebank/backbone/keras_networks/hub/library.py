"""KerasHub, imported quietly, and the classes of its layers."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator
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
    return keras_hub


def is_installed() -> bool:
    """Returns whether KerasHub is installed; does not import it."""
    return find_spec(PACKAGE) is not None


def own_classes() -> dict[str, type]:
    """Returns KerasHub's classes of layers by their names, once `import_keras_hub` has run."""
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
