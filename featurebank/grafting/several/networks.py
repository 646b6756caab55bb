"""The networks of several banks, whose taps a head was trained on side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.dataset.decoding.levels import Levels
from featurebank.errors import HeadError
from featurebank.fitting.joined.parts import JoinedTap, resolve
from featurebank.fitting.joined.text import is_joined
from featurebank.grafting.several.squares import Square, squares_of


@dataclass(frozen=True)
class SeveralNetworks:
    """Networks that look at the same images."""

    parts: tuple[tuple[Backbone, tuple[str, ...]], ...]
    """Each network with its taps, in the order of the features."""

    @property
    def name(self) -> str:
        """The names of the networks, for people."""
        return " and ".join(backbone.name for backbone, _ in self.parts)

    @property
    def squares(self) -> list[Square]:
        """The input of each network."""
        return [Square(backbone.image_size, backbone.resize_rule) for backbone, _ in self.parts]

    @property
    def levels(self) -> Levels | None:
        """The range of grey images, which is that of all networks."""
        return self.parts[0][0].levels

    @property
    def further(self) -> tuple[dict[str, Any], ...]:
        """The recipes of all networks but the first."""
        return tuple(dict(backbone.recipe) for backbone, _ in self.parts[1:])

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Returns what the networks take of an image, a row of numbers; see `squares_of`."""
        return squares_of(image, self.squares)


def check_columns(bank: Bank, tap: str, recorded: Mapping[str, Any] | None = None) -> None:
    """Raises HeadError if a tap has columns of metadata, which no image has."""
    if is_joined(tap, bank.taps) and (columns := resolve(bank, tap, recorded).columns):
        message = (
            f"tap '{tap}' has columns of metadata ({', '.join(columns)}), which no image has: a model file cannot hold "
            "the head; use run.predict(table) in Python, with a table of paths and these columns"
        )
        raise HeadError(message)


def several_networks(
    bank: Bank, tap: str, recorded: Mapping[str, Any] | None = None, backbone: Backbone | None = None
) -> SeveralNetworks | None:
    """Returns the networks that compute a joined tap; None if that of the bank alone computes it.

    Args:
        bank: the bank that a head was trained on.
        tap: its tap.
        recorded: see `featurebank.fitting.joined.parts.resolve`.
        backbone: the network of this bank; None loads it again.

    Raises:
        HeadError: the tap has columns of metadata, which no image has, or the networks read images differently.
        WeightsError, ConfigError: a network cannot be loaded again.
    """
    if not is_joined(tap, bank.taps) or (joined := resolve(bank, tap, recorded)).is_of_one_network:
        return None
    check_columns(bank, tap, recorded)
    networks = SeveralNetworks(tuple(_parts(joined, backbone)))
    if len({network.levels and network.levels.text for network, _ in networks.parts}) > 1:
        message = f"tap '{tap}': its networks were extracted with different --levels, which one model cannot read"
        raise HeadError(message)
    return networks


def _parts(joined: JoinedTap, own: Backbone | None) -> list[tuple[Backbone, tuple[str, ...]]]:
    """Returns the networks with their taps; taps of one bank that follow each other are computed in one pass."""
    groups: list[tuple[Bank, list[str]]] = []
    for part in joined.parts:
        if not groups or groups[-1][0].path != part.bank.path:
            groups.append((part.bank, []))
        groups[-1][1].append(part.tap)
    return [
        (load_recorded(bank.recipe, bank.manifest.source, backbone=own if bank is joined.bank else None), tuple(taps))
        for bank, taps in groups
    ]
