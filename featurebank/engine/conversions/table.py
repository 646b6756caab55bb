"""The table of conversions to OpenVINO by the form of a network, and what each of them returns."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone import Backbone


@dataclass(frozen=True)
class Conversion:
    """A network as a model of OpenVINO, and the original.

    Args:
        model: (n, s, s, 3) uint8 RGB -> an output for each tap, float32, whose tensor has the name `tap_name(place)`;
            n is free.
        original: images (n, s, s, 3) uint8 -> the taps (n, ...) float32, in order; None if the network is itself one of
            OpenVINO, so that there is nothing to compare with.
    """

    model: Any
    original: Callable[[np.ndarray], Sequence[np.ndarray]] | None


_MODULES = {"keras": "keras_models", "pytorch": "torch_modules", "openvino": "graphs"}
"""The modules of this folder by `Backbone.form`; each has `conversion_of(backbone, taps)`."""


def conversion_of(backbone: Backbone, taps: Sequence[str]) -> Conversion:
    """Converts taps of a network.

    Args:
        backbone: the network, which is built.
        taps: the taps to compute in one pass.

    Raises:
        UnknownNameError, ConfigError: the network has no such tap.
        Exception: any, if the network cannot be converted.
    """
    module = importlib.import_module(f"featurebank.engine.conversions.{_MODULES[backbone.form]}")
    conversion: Conversion = module.conversion_of(backbone, taps)
    return conversion


def name_outputs(model: Any, names: Sequence[str]) -> None:
    """Gives the outputs of a model of OpenVINO their names, in order; one tensor may be several outputs."""
    for output, name in zip(model.outputs, names, strict=True):
        output.get_tensor().add_names({name})
