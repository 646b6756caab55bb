"""Checks Keras model files (.keras), which may come from anybody, before Keras builds what they describe.

A file describes its layers by the names of classes and functions. Only Keras's own are accepted, except those that run
code or read files; this does not depend on the safe mode of the installed Keras. Classes that a program has registered
with Keras are accepted if the user named their package: see `featurebank.backbone.naming`. The layers of KerasHub's
networks of images are accepted where it is installed; they are found by their names in the package itself.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from featurebank.backbone.keras_networks.hub.layers import layer_classes
from featurebank.backbone.keras_networks.hub.library import PACKAGE, is_installed
from featurebank.backbone.naming import is_of_named_package
from featurebank.errors import ArchiveError
from featurebank.system.archive import FREE_BYTES, MOST_EXPANSION, open_archive
from featurebank.system.files import open_regular
from featurebank.system.runtime import import_tensorflow

ABOUT = "featurebank.json"
"""The member with featurebank's description of a model."""
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = frozenset({"metadata.json", _CONFIG, _WEIGHTS, ABOUT})
_MODULES = frozenset({
    "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.activations", "keras.dtype_policies", "keras.quantizers", "keras.ops",
})  # fmt: skip
_INNER = (
    "keras.src.ops.", "keras.src.models.", "keras.src.layers.", "keras.src.dtype_policies.", "keras.src.applications.",
)  # fmt: skip
"""Modules of Keras with operations, models and layers that have no public name."""
_FUNCTIONS = frozenset({"builtins", "keras.activations"})
"""Modules of accepted functions; Keras resolves those of "builtins" among its own."""
_REFUSED = frozenset({
    "Lambda", "__lambda__", "__typespec__", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "FeatureSpace",
    "StringLookup", "IntegerLookup", "TextVectorization",
})  # fmt: skip
"""Classes that run code from the file or beside it, or that read other files."""
_MOST_VALUES = 5_000_000
_FREE_NUMBERS = 1_000_000
"""A network may declare this many more numbers than its weights: states of random generators are not always saved."""


def load_keras_file(path: Path) -> Any:
    """Loads a .keras file without its optimizer and losses; the file can run nothing but Keras's own layers.

    Args:
        path: path of the file.

    Returns:
        A Keras model.

    Raises:
        ArchiveError: the file is damaged, unpacks to too much, names something other than Keras's own layers, or
            describes a network with many more weights than it holds; the message is only the reason.
        ValueError, TypeError, LookupError, OSError, AttributeError: Keras cannot build the network.
    """
    import_tensorflow()
    import keras

    with open_archive(path, allowed=_MEMBERS) as archive:
        archive.verify()
        config = archive.read(_CONFIG)
        classes = check_config(config)
        count = _check_weights(io.BytesIO(archive.read(_WEIGHTS)), _WEIGHTS)
    declared_count = _count_declared(config, classes)
    if declared_count > count + _FREE_NUMBERS:
        message = (
            f"it describes a network of {declared_count:,} weights but holds {count:,}: the rest would only take up "
            "memory"
        )
        raise ArchiveError(message)
    return keras.saving.load_model(path, custom_objects=classes, compile=False, safe_mode=True)


def _count_declared(config: bytes, classes: dict[str, type]) -> int:
    """Returns the number of weights that a described network declares, without allocating them.

    The network is built in a separate thread, because Keras keeps a list, one per thread, of the variables that are not
    yet initialized, and initializes them at the next opportunity.

    Args:
        config: the checked JSON of `config.json`.
        classes: classes that it may name beside Keras's own.
    """
    import keras

    described = json.loads(config)
    described.pop("compile_config", None)

    def build() -> int:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(described, custom_objects=classes, safe_mode=True)
            return sum(math.prod(variable.shape) for variable in model.variables)

    with ThreadPoolExecutor(1, thread_name_prefix="featurebank-keras") as thread:
        return thread.submit(build).result()


def check_config(data: bytes) -> dict[str, type]:
    """Checks the description of a model.

    Args:
        data: the JSON of `config.json`.

    Returns:
        The classes of KerasHub that it names, by their names.

    Raises:
        ArchiveError: it is not a JSON object, or names something that is not accepted.
    """
    from keras.saving import get_custom_objects

    try:
        config = json.loads(data)
        config.pop("compile_config", None)  # it belongs to training and is not read
        values = list(_walk(config))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = f"its {_CONFIG} is damaged ({type(error).__name__})"
        raise ArchiveError(message) from error
    classes = _layers_of_keras_hub(values)
    # Afterwards: the import of KerasHub registers its tokenizers, which read files, and its functions.
    registered = {
        name
        for name, custom in get_custom_objects().items()
        if not is_of_named_package(getattr(custom, "__module__", None) or "")
    }
    for value in values:
        if isinstance(value, dict):
            _check_object(value, classes)
        elif isinstance(value, str) and value in registered and value not in classes:
            raise _refused(value)
    return classes


def _layers_of_keras_hub(values: list[Any]) -> dict[str, type]:
    """Returns the layer classes of KerasHub that are named, as the installed package has them.

    Raises:
        ArchiveError: it is not installed.
    """
    found = [value for value in values if isinstance(value, dict) and _is_of_keras_hub(value)]
    names = {str(value.get("registered_name") or value.get("class_name")) for value in found}
    if not names:
        return {}
    if not is_installed():
        message = f"it has layers of KerasHub ({', '.join(sorted(names))[:100]}): pip install 'featurebank[keras-hub]'"
        raise ArchiveError(message)
    known = layer_classes()
    return {name: known[name] for name in names if name in known}


def _is_of_keras_hub(value: dict[str, Any]) -> bool:
    return str(value.get("module")).partition(".")[0] == PACKAGE


def _walk(config: Any) -> Iterator[Any]:
    """Yields every value in a JSON value, and also the keys, because they can be names, too."""
    left, visited = [config], 0
    while left:
        value = left.pop()
        visited += 1
        if visited > _MOST_VALUES:
            message = "too many values"
            raise ValueError(message)
        yield value
        left.extend([*value.values(), *value] if isinstance(value, dict) else value if isinstance(value, list) else ())


def _check_object(value: dict[str, Any], classes: dict[str, type]) -> None:
    """Raises ArchiveError if an object's description is neither of Keras's own nor of `classes`, or runs code."""
    if "class_name" not in value:
        return
    name, module = str(value["class_name"]), str(value.get("module") or "")
    if name in _REFUSED:
        raise _refused(name)
    # Keras looks for the registered name first; it must lead to the class that was found in the package.
    found = classes.get(str(value.get("registered_name"))) if _is_of_keras_hub(value) else None
    if found is not None and found.__name__ == name:
        return
    known = module in _FUNCTIONS if name == "function" else module in _MODULES or module.startswith(_INNER)
    if module and not known and not is_of_named_package(module):
        target = f"{module}.{value.get('config') if name == 'function' else name}"
        raise _refused(target)


def _refused(name: str) -> ArchiveError:
    return ArchiveError(
        f"it names {name[:100]!r}, and a file must not decide which code runs: only Keras's own layers are built from "
        "a file, except Lambda, TFSMLayer and lookups; load a network with other layers as MODULE:FUNCTION"
    )


def check_weights_file(path: Path) -> None:
    """Checks a file of weights, HDF5 or .keras, before Keras reads it.

    Raises:
        ArchiveError: it is damaged, refers to other files, or unpacks to too much; the message is only the reason.
        OSError: it cannot be opened.
    """
    with open_regular(path) as file:
        if not zipfile.is_zipfile(file):
            _check_weights(file, path.name)
            return
        with open_archive(file, allowed=_MEMBERS) as archive:
            archive.verify()
            _check_weights(io.BytesIO(archive.read(_WEIGHTS)), _WEIGHTS)


def _check_weights(source: BinaryIO, name: str) -> int:
    """Checks an HDF5 file of weights; `name` is its name in messages.

    Returns:
        The number of values that it holds.

    Raises:
        ArchiveError: it refers to other files, or its arrays are much larger than the file.
    """
    import h5py

    counts, sizes, length = list[int](), list[int](), source.seek(0, io.SEEK_END)

    def elsewhere(place: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else place

    def unsound(place: str, item: Any) -> str | None:
        if not isinstance(item, h5py.Dataset):
            return None
        counts.append(math.prod(item.shape))
        sizes.append(counts[-1] * item.dtype.itemsize)
        return place if item.is_virtual or item.external or item.dtype.hasobject else None

    try:
        with h5py.File(source, "r") as file:
            problem = file.visititems_links(elsewhere) or file.visititems(unsound)
    except Exception as error:  # HDF5 raises many types on damaged bytes
        message = f"its {name} is damaged ({type(error).__name__})"
        raise ArchiveError(message) from error
    if problem:
        message = f"its weights '{problem[:100]}' lie outside the file, or are not numbers"
        raise ArchiveError(message)
    if sum(sizes) > max(FREE_BYTES, MOST_EXPANSION * length):
        message = f"its weights of {length:,} bytes unpack to {sum(sizes):,}, more than {MOST_EXPANSION} times its size"
        raise ArchiveError(message)
    return sum(counts)
