"""Completes the tails of a grid with the bank's backbone, and checks their cuts before training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from featurebank.backbone import Backbone, BackboneOptions, load_network
from featurebank.backbone.recorded import load_recorded, recorded_options
from featurebank.bank import Bank
from featurebank.errors import ConfigError, FeatureBankError, HeadError

_OWN = "own"
"""The pooling of a tail of a transformer that names none."""
_TOKENS_AXES = 2
_OPTIONS = ("backbone", "weights", "image_size", "preprocessing")


class Tails:
    """The tails of one grid on one bank; each network is loaded once.

    Args:
        bank: the bank that they are trained on.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._recorded: dict[str, Any] | FeatureBankError | None = None
        self._backbones: dict[tuple[Any, ...], Backbone] = {}

    def filled(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a tail's parameters, completed with the bank's backbone and the pooling of a transformer.

        Raises:
            ConfigError: the bank's network was a model in memory, or no longer exists.
            WeightsError: the network is not that of the bank.
        """
        if "pooling" not in params and self._has_tokens(params.get("cut")):
            params = {**params, "pooling": _OWN}
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
            backbone = self._backbone(head)
            network = backbone.network()
        except FeatureBankError as error:
            yield "backbone", str(error)
            return
        try:
            cut = head.checked_cut(network)
        except ConfigError as error:
            yield "cut", str(error)
            return
        for key, check in (("pooling", head.end), ("train_from", head.checked_layers)):
            try:
                check(backbone)
            except FeatureBankError as error:
                yield key, str(error)
                break
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
        backbone.network()  # raises here if it cannot be built
        self._backbones[tuple(options[name] for name in _OPTIONS)] = backbone
        return options

    def _has_tokens(self, cut: Any) -> bool:
        """Returns whether the bank's network is a transformer, or its rows of a cut are tokens (T, d)."""
        is_tap = isinstance(cut, str) and cut in self._bank.taps
        return bool(self._bank.recipe.get("pooling")) or (is_tap and len(self._bank.tap_shape(cut)) == _TOKENS_AXES)

    def _backbone(self, head: Any) -> Backbone:
        key = tuple(getattr(head, name) for name in _OPTIONS)
        if key not in self._backbones:
            name, weights, size, preprocessing = key
            options = BackboneOptions(weights=weights, image_size=size, preprocessing=preprocessing)
            self._backbones[key] = load_network(name, options)
        return self._backbones[key]
