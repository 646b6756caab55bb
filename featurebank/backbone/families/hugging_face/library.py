"""The only home of transformers: networks from its own classes, and the tensors of files under their names."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from featurebank.backbone.families.hugging_face.kinds import Kind
from featurebank.backbone.weights.files import first_line, quiet_stdout
from featurebank.errors import ConfigError, MissingDependencyError, WeightsError
from featurebank.system.imports.torch import import_torch
from featurebank.system.progress import step

_COUNTERS = "num_batches_tracked"
"""Of batch normalisation in training; some files lack them."""


def known_keys(kind: Kind) -> frozenset[str]:
    """Returns the keys that the configuration of a kind of network knows beside those of all networks."""
    transformers = _import_transformers()
    own, common = (
        set(inspect.signature(each.__init__).parameters)
        for each in (_class(kind.config), transformers.PretrainedConfig)
    )
    return frozenset(own - common)


def build_network(kind: Kind, values: Mapping[str, Any], origin: str) -> Any:
    """Builds a network with the weights of transformers' own initialisation.

    Args:
        kind: its kind.
        values: the values that define it; see `config.network_values`.
        origin: its name in messages.

    Returns:
        A `transformers.PreTrainedModel`; on the device "meta" if that is the current one.

    Raises:
        ConfigError: the values do not fit together.
    """
    network, config = _class(kind.network), _class(kind.config)
    try:
        with _silence():
            return _without_loss(network(config(**values), **kind.options))
    except Exception as error:  # a configuration may fail anywhere in transformers
        message = f"{origin}: transformers cannot build it from its config.json ({_reason(error)}): check the file"
        raise ConfigError(message) from error


def load_network(kind: Kind, values: Mapping[str, Any], tensors: Mapping[str, Any], origin: str) -> Any:
    """Builds a network with the tensors of weights files.

    transformers renames layers now and then, and its classes with a classifier or with two towers put a word before
    each name. It can read all of its old names, so it loads the tensors itself.

    Args:
        kind: its kind.
        values: the values that define it; see `config.network_values`.
        tensors: `torch.Tensor` by name, as in the files.
        origin: its name in messages.

    Returns:
        A `transformers.PreTrainedModel` in float32.

    Raises:
        ConfigError: the values do not fit together.
        WeightsError: a tensor is missing or has another shape, or the tensors belong to a deeper network.
    """
    torch, network = import_torch(), _class(kind.network)
    with torch.device("meta"):
        config = build_network(kind, values, origin).config
    try:
        with _silence():
            module, report = network.from_pretrained(
                None, config=config, state_dict=dict(tensors), dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True, **kind.options,
            )  # fmt: skip
    except Exception as error:  # as above
        message = f"{origin}: transformers cannot use these weights ({_reason(error)}): use those of this network"
        raise WeightsError(message) from error
    if problem := _problem(report, module.state_dict()):
        message = f"{origin}: {problem}; use the weights of this network"
        raise WeightsError(message)
    return _without_loss(module)


def _without_loss(network: Any) -> Any:
    """Takes the property of the loss from a network, which warns whoever looks at all attributes, as tracers do."""
    for module in network.modules():
        if hasattr(type(module), "loss_function"):
            module.loss_function = None
    return network


def _problem(report: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    """Says what is wrong with the tensors of a file, from the report of transformers; returns "" if nothing is."""
    if report["mismatched_keys"]:
        name, got, expected = min(report["mismatched_keys"])
        return f"the tensor '{name}' of its weights has shape {tuple(got)}, expected {tuple(expected)}"
    if missing := sorted(key for key in report["missing_keys"] if not key.endswith(_COUNTERS)):
        return f"its weights have no tensor '{missing[0]}' of shape {tuple(state[missing[0]].shape)}"
    layers = {re.sub(r"\d+", "#", name) for name in state if re.search(r"\d", name)}
    for name in sorted(report["unexpected_keys"]):
        if re.sub(r"\d+", "#", name) in layers:
            return f"its weights have a tensor '{name}', as a deeper network"
    return ""


def interpolates_positions(module: Any) -> bool:
    """Returns whether a network interpolates its positions if it is asked to."""
    return "interpolate_pos_encoding" in inspect.signature(module.forward).parameters


def _class(name: str) -> Any:
    found = getattr(_import_transformers(), name, None)
    if found is None:
        message = f"this version of transformers has no {name}: pip install --upgrade transformers"
        raise MissingDependencyError(message)
    return found


def _import_transformers() -> Any:
    import_torch()
    with step("loading transformers"), _silent_warnings():
        try:
            import transformers
        except ImportError as error:
            message = f"transformers cannot be imported ({first_line(error)}): pip install 'featurebank[transformers]'"
            raise MissingDependencyError(message) from error
    return transformers


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps transformers' log, warnings and progress bars out of our output."""
    from transformers.utils import logging as theirs

    logger, shows_bars = logging.getLogger("transformers"), theirs.is_progress_bar_enabled()
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with _silent_warnings(), quiet_stdout():
            yield
    finally:
        logger.setLevel(level)
        if shows_bars:
            theirs.enable_progress_bar()


@contextlib.contextmanager
def _silent_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"
