"""The network up to the taps of a head: of a joined tap, several taps of one network side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import HeadError
from featurebank.fitting.joined.parts import resolve
from featurebank.fitting.joined.text import is_joined
from featurebank.grafting.foreign.trunks import OpenVINOTrunk
from featurebank.grafting.several.networks import SeveralNetworks
from featurebank.grafting.several.trunks import SeveralTrunks
from featurebank.system.runtime import import_tensorflow

_ELSEWHERE = {
    False: ", or export this run as a .fbmodel file",
    True: "; run.predict(table) in Python takes a table of paths and columns",
}


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
            f"tap '{tap}' needs {joined.sources}, and this needs a head on taps of one network: train it on those of "
            f"one bank{_ELSEWHERE[bool(joined.columns)]}"
        )
        raise HeadError(message)
    return [part.tap for part in joined.parts]


def trunk_of(networks: SeveralNetworks) -> SeveralTrunks:
    """Returns several networks up to their taps, for a model file.

    Raises:
        EngineError: OpenVINO cannot run a network that is not one of Keras.
    """
    trunks = [
        trunk_model(backbone, taps) if backbone.form == "keras" else OpenVINOTrunk.of(backbone, taps)
        for backbone, taps in networks.parts
    ]
    return SeveralTrunks(trunks, networks.squares)


def trunk_model(backbone: Backbone, taps: Sequence[str]) -> Any:
    """Returns a network of Keras up to some taps, whose vectors are joined if there are several.

    Raises:
        ConfigError, UnknownNameError: see `Backbone.tap_model`.
    """
    import_tensorflow()
    import keras

    model = backbone.tap_model(taps)
    outputs = [model.output[tap] for tap in taps]
    output = outputs[0] if len(outputs) == 1 else keras.layers.Concatenate(name="joined_taps")(outputs)
    return keras.Model(model.input, output, name=model.name)
