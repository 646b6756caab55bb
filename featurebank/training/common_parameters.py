"""The parameters that every kind of head takes, whatever its class: they act before and after its own training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurebank.system import digest

CALIBRATE = "calibrate"
"""A parameter that every head takes: "temperature", or "none" (as None, which a grid file cannot say)."""
SAMPLE_WEIGHT = "sample_weight"
"""A parameter that every head takes: what becomes of the weights of a bank's images."""
USE, IGNORE = "use", "ignore"
"""Its values; the first is the default."""


def is_calibrated(params: Mapping[str, Any]) -> bool:
    """Returns whether parameters ask for calibration."""
    return params.get(CALIBRATE) not in (None, "none")


def ignores_weights(params: Mapping[str, Any]) -> bool:
    """Returns whether parameters ask to count all training images alike, although the bank has weights."""
    return params.get(SAMPLE_WEIGHT) == IGNORE


def uncalibrated(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters without `calibrate`."""
    return {name: value for name, value in params.items() if name != CALIBRATE}


def own_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of the head's class: without those that every head takes."""
    return {name: value for name, value in params.items() if name not in (CALIBRATE, SAMPLE_WEIGHT)}


def changed_from_default(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters without those of every head that say what is done anyway."""
    idle = [CALIBRATE] * (not is_calibrated(params)) + [SAMPLE_WEIGHT] * (not ignores_weights(params))
    return {name: value for name, value in params.items() if name not in idle}


def canonical_text(value: Any) -> str | None:
    """Returns the canonical text of a value; None where a record cannot hold it."""
    try:
        return digest.canonical_json(value)
    except (TypeError, ValueError):
        return None
