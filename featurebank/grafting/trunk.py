"""The network up to the taps of a head: of a joined tap, several taps of one network side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.fitting.joined.parts import resolve
from featurebank.fitting.joined.text import is_joined


def taps_of(bank: Bank, tap: str, recorded: Mapping[str, Any] | None = None) -> list[str]:
    """Returns the taps of a bank's network that a tap consists of.

    Args:
        bank: the bank.
        tap: a tap of the bank, or a joined tap.
        recorded: see `featurebank.fitting.joined.parts.resolve`.

    Raises:
        HeadError: the tap has parts of other banks or columns, so that no model of one network computes it.
        ConfigError: a part of a joined tap cannot be used.
    """
    if not is_joined(tap, bank.taps):
        return [tap]
    joined = resolve(bank, tap, recorded)
    if not joined.is_of_one_network:
        message = (
            f"tap '{tap}' needs {joined.sources}, and one model from images to probabilities has one network: use "
            "predict or predict_proba of the run in Python, or train the head on taps of one bank"
        )
        raise HeadError(message)
    return [part.tap for part in joined.parts]


def trunk_model(backbone: Backbone, taps: Sequence[str]) -> Any:
    """Returns a network of Keras up to some taps, whose vectors are joined if there are several.

    Raises:
        ConfigError, UnknownNameError: see `Backbone.tap_model`.
    """
    import keras

    model = backbone.tap_model(taps)
    outputs = [model.output[tap] for tap in taps]
    output = outputs[0] if len(outputs) == 1 else keras.layers.Concatenate(name="joined_taps")(outputs)
    return keras.Model(model.input, output, name=model.name)
