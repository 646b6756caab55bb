"""Keras's own model files (.keras), which may be anybody's: checked before Keras builds anything that they describe.

A file describes its layers by the names of classes and functions. Only Keras's own are followed, without those that run
code or read files, whatever Keras's own safe mode knows of them in the installed version. Classes that a program has
registered with Keras are followed where the user named their package: see `featurebank.backbone.naming`.
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

from featurebank.backbone.naming import is_of_named_package
from featurebank.errors import ArchiveError
from featurebank.system.archive import FREE_BYTES, MOST_EXPANSION, open_archive
from featurebank.system.files import open_regular
from featurebank.system.runtime import import_tensorflow

ABOUT = "featurebank.json"
"""The member in which featurebank describes a model."""
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = frozenset({"metadata.json", _CONFIG, _WEIGHTS, ABOUT})
_MODULES = frozenset({
    "keras", "keras.layers", "keras.models", "keras.initializers", "keras.regularizers", "keras.constraints",
    "keras.activations", "keras.dtype_policies", "keras.quantizers", "keras.ops",
})  # fmt: skip
_INNER = (
    "keras.src.ops.", "keras.src.models.", "keras.src.layers.", "keras.src.dtype_policies.", "keras.src.applications.",
)  # fmt: skip
"""Where Keras finds operations, models and layers of its networks that have no public name."""
_FUNCTIONS = frozenset({"builtins", "keras.activations"})
"""Where functions may come from; Keras looks for those of "builtins" among its own."""
_REFUSED = frozenset({
    "Lambda", "__lambda__", "__typespec__", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper", "FeatureSpace",
    "StringLookup", "IntegerLookup", "TextVectorization",
})  # fmt: skip
"""What runs code that is in the file or beside it, or reads other files."""
_MOST_VALUES = 5_000_000
_FREE_NUMBERS = 1_000_000
"""So many more numbers than its weights are may a network declare: states of random generators are not always kept."""


def load_keras_file(path: Path) -> Any:
    """Loads a .keras file without its optimizer and losses; nothing that it says is run but Keras's own layers.

    Args:
        path: of the file.

    Returns:
        A Keras model.

    Raises:
        ArchiveError: the file is damaged, unpacks to too much, names something else than Keras's own layers, or
            describes a network of many more weights than it holds; the message is the reason alone.
        ValueError, TypeError, LookupError, OSError, AttributeError: Keras cannot build what it describes.
    """
    import_tensorflow()
    import keras

    with open_archive(path, allowed=_MEMBERS) as archive:
        archive.verify()
        config = archive.read(_CONFIG)
        check_config(config)
        held = _check_weights(io.BytesIO(archive.read(_WEIGHTS)), _WEIGHTS)
    declared = _declared(config)
    if declared > held + _FREE_NUMBERS:
        message = (
            f"it describes a network of {declared:,} weights and holds {held:,}: the rest would only take up memory"
        )
        raise ArchiveError(message)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _declared(config: bytes) -> int:
    """Returns how many numbers the variables of a described network have; none of them is given memory.

    The network is built in a thread of its own, because Keras keeps a list, one for each thread, of the variables that
    are still to be initialized, and initializes them at the next opportunity.

    Args:
        config: the JSON of `config.json`, checked.
    """
    import keras

    described = json.loads(config)
    described.pop("compile_config", None)

    def build() -> int:
        with keras.StatelessScope(initialize_variables=False):
            model = keras.saving.deserialize_keras_object(described, safe_mode=True)
            return sum(math.prod(variable.shape) for variable in model.variables)

    with ThreadPoolExecutor(1, thread_name_prefix="featurebank-keras") as thread:
        return thread.submit(build).result()


def check_config(data: bytes) -> None:
    """Checks the description of a model.

    Args:
        data: the JSON of `config.json`.

    Raises:
        ArchiveError: it is no JSON object, or names something that is not followed.
    """
    from keras.saving import get_custom_objects

    registered = {
        name
        for name, found in get_custom_objects().items()
        if not is_of_named_package(getattr(found, "__module__", None) or "")
    }
    try:
        config = json.loads(data)
        config.pop("compile_config", None)  # of training; it is not read
        values = list(_walk(config))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        message = f"its {_CONFIG} is damaged ({type(error).__name__})"
        raise ArchiveError(message) from error
    for value in values:
        if isinstance(value, dict):
            _check_object(value)
        elif isinstance(value, str) and value in registered:
            raise _refused(value)


def _walk(config: Any) -> Iterator[Any]:
    """Yields every value of a JSON value, and the keys that are no less names than they."""
    left, seen = [config], 0
    while left:
        value = left.pop()
        seen += 1
        if seen > _MOST_VALUES:
            message = "too many values"
            raise ValueError(message)
        yield value
        left.extend([*value.values(), *value] if isinstance(value, dict) else value if isinstance(value, list) else ())


def _check_object(value: dict[str, Any]) -> None:
    """Raises ArchiveError for the description of an object that is not Keras's own, or that runs code."""
    if "class_name" not in value:
        return
    name, module = str(value["class_name"]), str(value.get("module") or "")
    if name in _REFUSED:
        raise _refused(name)
    known = module in _FUNCTIONS if name == "function" else module in _MODULES or module.startswith(_INNER)
    if module and not known and not is_of_named_package(module):
        found = f"{module}.{value.get('config') if name == 'function' else name}"
        raise _refused(found)


def _refused(name: str) -> ArchiveError:
    return ArchiveError(
        f"it names {name[:100]!r}, and a file must not say which code is run: only layers of Keras itself are built "
        "from a file, without Lambda, TFSMLayer and lookups; a network with other layers is named as MODULE:FUNCTION"
    )


def check_weights_file(path: Path) -> None:
    """Checks a file of weights alone, HDF5 or .keras, before Keras reads it.

    Raises:
        ArchiveError: it is damaged, refers to other files, or unpacks to too much; the message is the reason alone.
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
    """Checks an HDF5 file of weights; `name` is what messages call it.

    Returns:
        How many numbers it holds.

    Raises:
        ArchiveError: it refers to other files, or its arrays are much larger than it is.
    """
    import h5py

    counts, sizes, length = list[int](), list[int](), source.seek(0, io.SEEK_END)

    def elsewhere(place: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else place

    def unsound(place: str, found: Any) -> str | None:
        if not isinstance(found, h5py.Dataset):
            return None
        counts.append(math.prod(found.shape))
        sizes.append(counts[-1] * found.dtype.itemsize)
        return place if found.is_virtual or found.external or found.dtype.hasobject else None

    try:
        with h5py.File(source, "r") as file:
            wrong = file.visititems_links(elsewhere) or file.visititems(unsound)
    except Exception as error:  # whatever HDF5 raises on damaged bytes
        message = f"its {name} is damaged ({type(error).__name__})"
        raise ArchiveError(message) from error
    if wrong:
        message = f"its weights '{wrong[:100]}' lie elsewhere, or are no numbers"
        raise ArchiveError(message)
    if sum(sizes) > max(FREE_BYTES, MOST_EXPANSION * length):
        message = f"its weights of {length:,} bytes unpack to {sum(sizes):,}, more than {MOST_EXPANSION} times as many"
        raise ArchiveError(message)
    return sum(counts)
