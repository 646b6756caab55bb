"""Loads a custom network by its name: MODULE:FUNCTION, or the path of a .keras file."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from featurebank.backbone.families.user import make_backbone
from featurebank.backbone.families.user_modules.checks import weights_digest
from featurebank.backbone.families.user_modules.network import is_module, make_module_backbone
from featurebank.backbone.keras_networks.keras_file import load_keras_file
from featurebank.backbone.naming import KERAS_SUFFIX, LIBRARY_WORDS, name_function
from featurebank.backbone.network import Backbone
from featurebank.backbone.options import BackboneOptions
from featurebank.backbone.preprocess import DECLARED
from featurebank.backbone.spec import OWN
from featurebank.backbone.weights.files import first_line, quiet_stdout
from featurebank.errors import ConfigError, WeightsError, unknown_name
from featurebank.system import digest
from featurebank.system.runtime import import_tensorflow

_SIZE = "image_size"
_CHOICES = ", ".join(DECLARED)
_steady: set[str] = set()
"""The functions that have returned the same network twice."""


def load_user_network(name: str, options: BackboneOptions) -> Backbone:
    """Loads a custom network; imports Keras, and calls the function if the name is one.

    Args:
        name: MODULE:FUNCTION or the path of a .keras file.
        options: its weights are "own" (the default) or "random:SEED"; the image size is passed to the function if it
            takes `image_size`; the preprocessing is not needed if the function declares it.

    Returns:
        The backbone.

    Raises:
        ConfigError: the module, function or file does not exist or fails, declares no preprocessing or two, returns
            something that cannot be a backbone, or returns other weights at each call.
        WeightsError: the file is damaged.
    """
    import_tensorflow()
    name_function(name)
    size = None
    if name.endswith(KERAS_SUFFIX):
        model, declared = _from_file(Path(name).expanduser()), None
    else:
        model, declared, size = _from_function(name, options.image_size)
        if options.weights in {None, OWN} and name not in _steady:
            _check_steady(name, model, _from_function(name, options.image_size)[0])
    preprocessing = _agreed(name, declared, options.preprocessing)
    if is_module(model):
        return make_module_backbone(model, preprocessing, name, size, options)
    return make_backbone(
        model, preprocessing, origin=name, known_as=name, image_size=options.image_size, weights=options.weights,
        resize=options.resize, levels=options.levels, is_sized=_is_sized(name),
    )  # fmt: skip


def _is_sized(name: str) -> bool:
    """Returns whether a backbone is a function, which has been imported, that takes the image size."""
    module, _, attribute = name.partition(":")
    function = getattr(sys.modules.get(module), attribute, None) if attribute else None
    return function is not None and _SIZE in inspect.signature(function).parameters


def _check_steady(name: str, model: Any, again: Any) -> None:
    """Refuses a function whose network has other weights at each call, because banks could not be identified.

    Raises:
        ConfigError: it has.
    """
    if is_module(model) and is_module(again):
        first, second = [weights_digest(model)], [weights_digest(again)]
        ways = "model.load_state_dict", "torch.manual_seed(0)"
    else:
        first, second = ([digest.of_array(w) for w in getattr(one, "get_weights", list)()] for one in (model, again))
        ways = "model.load_weights", "keras.utils.set_random_seed(0)"
    if first != second:
        message = (
            f"{name} gives other weights at each call: load trained weights in it ({ways[0]}), or fix the seed of "
            f"random ones ({ways[1]})"
        )
        raise ConfigError(message)
    _steady.add(name)


def _agreed(name: str, declared: str | None, option: str | None) -> str:
    """Returns the preprocessing; it must be stated, and not in two different ways."""
    if declared is None and option is None:
        how = f"use --preprocessing with one of {_CHOICES}"
        if not name.endswith(KERAS_SUFFIX):
            how += ", or let the function declare it, as build.preprocessing = 'caffe'"
        message = f"{name} does not declare the input that it expects: {how}"
        raise ConfigError(message)
    if declared is not None and option not in {None, declared}:
        message = f"{name} declares preprocessing '{declared}', got '{option}': leave it out"
        raise ConfigError(message)
    return str(declared if declared is not None else option)


def _from_file(path: Path) -> Any:
    """Loads a .keras file; a file with code is refused."""
    if not path.is_file():
        message = f"there is no model file '{path}': check the path, or name a backbone of 'featurebank backbones'"
        raise ConfigError(message)
    try:
        with quiet_stdout():
            return load_keras_file(path)
    except Exception as error:  # a damaged or hostile file fails anywhere in Keras
        message = (
            f"'{path}' cannot be loaded ({first_line(error)}): expected a whole model saved by Keras 3, of Keras's own "
            "layers; for custom layers use MODULE:FUNCTION"
        )
        raise WeightsError(message) from error


def _from_function(name: str, image_size: int | None) -> tuple[Any, str | None, int | None]:
    """Calls MODULE:FUNCTION; returns the model, and the preprocessing and the image size that it declares, if any."""
    module, _, attribute = name.partition(":")
    with _current_directory_importable():
        function = _function(name, module, attribute)
        options = _options(name, function, image_size)
        with _one_line(f"{name} failed"), quiet_stdout():
            result = function(**options)
    attached, size = getattr(function, "preprocessing", None), getattr(function, _SIZE, None)
    if isinstance(result, tuple) and len(result) == 2:  # noqa: PLR2004 - (model, preprocessing)
        model, returned = result
        if attached not in {None, returned}:
            message = f"{name} declares preprocessing '{attached}' and returns '{returned}': expected one of them"
            raise ConfigError(message)
        return model, str(returned), size
    return result, attached, size


def _function(name: str, module: str, attribute: str) -> Callable[..., Any]:
    """Imports the function."""
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        message = f"backbone '{name}': expected MODULE:FUNCTION, as my_networks:build"
        raise ConfigError(message)
    _check_module(module)
    with _one_line(f"{name}: '{module}' cannot be imported"):
        imported = importlib.import_module(module)
    functions = [key for key, value in vars(imported).items() if callable(value) and not key.startswith("_")]
    function = getattr(imported, attribute, None)
    if function is None:
        raise unknown_name("function", attribute, functions, f"of module '{module}'")
    if not inspect.isroutine(function):
        kind = type(function).__name__
        message = f"{name} is of type {kind}: expected a function that returns a Keras model or a module of PyTorch"
        raise ConfigError(message)
    return function


def _check_module(module: str) -> None:
    """Raises UnknownNameError if a module, or a package that contains it, does not exist."""
    importlib.invalidate_caches()
    parts = module.split(".")
    places: Any = None
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        with _one_line(f"'{module}' cannot be imported"):
            spec = importlib.util.find_spec(name)
        if spec is None:
            known = [".".join([*parts[: count - 1], info.name]) for info in pkgutil.iter_modules(places)]
            hint = f"the current directory is searched, too; libraries are {', '.join(LIBRARY_WORDS)}"
            raise unknown_name("module", name, known, hint)
        places = spec.submodule_search_locations or []


def _options(name: str, function: Callable[..., Any], image_size: int | None) -> dict[str, int]:
    """Returns the arguments for the function: the image size, if it takes one."""
    parameters = inspect.signature(function).parameters
    optional = {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind not in optional]
    if others := [parameter for parameter in needed if parameter != _SIZE]:
        message = f"{name} needs arguments ({', '.join(others)}): expected none, or image_size"
        raise ConfigError(message)
    if _SIZE in needed and image_size is None:
        message = f"{name} needs an image size: choose one, as --image-size 224"
        raise ConfigError(message)
    return {_SIZE: image_size} if _SIZE in parameters and image_size is not None else {}


@contextlib.contextmanager
def _current_directory_importable() -> Iterator[None]:
    """Makes modules of the current directory importable, as `python -m` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turns an exception of the user's code into one line that says where it was raised."""
    try:
        yield
    except Exception as error:
        message = f"{what}{_place(error)}: {type(error).__name__}: {first_line(error)}; -v shows the whole traceback"
        raise ConfigError(message) from error


def _place(error: Exception) -> str:
    """Returns where in the user's code an error was raised: the last line that is neither ours nor in a package."""
    files = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [
        f" at {path.name}:{line}"
        for path, line in files
        if path != Path(__file__) and not {"site-packages", "importlib"} & set(path.parts) and path.is_file()
    ]
    return own[-1] if own else ""
