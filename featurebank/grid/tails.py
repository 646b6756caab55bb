"""Completes the tails of a grid with the bank's backbone, and checks their cuts before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurebank.backbone import BackboneOptions, load_network
from featurebank.backbone.recorded import load_recorded, recorded_options
from featurebank.bank import Bank
from featurebank.errors import ConfigError, FeatureBankError, HeadError

_OPTIONS = ("backbone", "weights", "image_size", "preprocessing")


class Tails:
    """The tails of one grid on one bank; each network is loaded once.

    Args:
        bank: the bank that they are trained on.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._recorded: dict[str, Any] | FeatureBankError | None = None
        self._networks: dict[tuple[Any, ...], Any] = {}

    def filled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a tail's parameters, completed with the bank's backbone if they name none.

        Raises:
            ConfigError: the bank's network was a model in memory, or no longer exists.
            WeightsError: the network is not that of the bank.
        """
        if params.get("backbone"):
            return dict(params)
        if self._recorded is None:
            try:
                self._recorded = self._load()
            except FeatureBankError as error:
                self._recorded = error
        if isinstance(self._recorded, FeatureBankError):
            raise self._recorded
        return {**self._recorded, **params}

    def tap(self, params: Mapping[str, Any]) -> Any:
        """Returns the default tap of a tail: that of its cut."""
        return params.get("cut", "")

    def problems(self, head: Any, shape: tuple[int, ...] | None) -> Iterator[tuple[str, str]]:
        """Yields the key and the text of each problem of a tail's cut.

        Args:
            head: the tail, with valid parameters.
            shape: the shape of its tap's features; None if the bank lacks the tap.
        """
        try:
            network = self._network(head)
        except FeatureBankError as error:
            yield "backbone", str(error)
            return
        try:
            cut = head.checked_cut(network)
        except ConfigError as error:
            yield "cut", str(error)
            return
        try:
            head.checked_layers(network)
        except FeatureBankError as error:
            yield "train_from", str(error)
        if shape is None:
            taps = ", ".join(self._bank.taps)
            yield "cut", f"the bank holds no tap '{cut.name}' (but {taps}): extract --tap {cut.name}"
            return
        try:
            head.check_maps(cut, shape)
        except HeadError as error:
            yield "cut", str(error)

    def _load(self) -> dict[str, Any]:
        recipe, source = self._bank.recipe, self._bank.manifest.source
        backbone = load_recorded(recipe, source)
        options = recorded_options(recipe, source)
        self._networks[tuple(options[name] for name in _OPTIONS)] = backbone.network()
        return options

    def _network(self, head: Any) -> Any:
        key = tuple(getattr(head, name) for name in _OPTIONS)
        if key not in self._networks:
            name, weights, size, preprocessing = key
            options = BackboneOptions(weights=weights, image_size=size, preprocessing=preprocessing)
            backbone = load_network(name, options)
            self._networks[key] = backbone.network()
        return self._networks[key]
