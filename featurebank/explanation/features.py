"""The features of images to explain: the stored rows of those that the bank has, otherwise one pass of the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.engine.catalog import load_engine
from featurebank.system.progress import SILENT, Reporter


class ImageFeatures:
    """Taps of images, as they are stored, or computed by the network of the bank.

    The network is loaded only if an image is not in the bank, or the bank lacks a tap.

    Args:
        bank: the bank.
        taps: the taps that are needed.
        backbone: loads the network of the bank.
        batch_size: the number of images per batch.
        reporter: receives the steps.
    """

    def __init__(
        self, bank: Bank, taps: Sequence[str], backbone: Callable[[], Backbone], *, batch_size: int = 32,
        reporter: Reporter = SILENT,
    ) -> None:  # fmt: skip
        self._bank, self._backbone, self._batch_size, self._reporter = bank, backbone, batch_size, reporter
        self._needed = tuple(dict.fromkeys(taps))
        self._stored = set(self._needed) <= set(bank.taps)
        self._taps = taps_to_compute(bank, self._needed)

    def __call__(self, positions: np.ndarray, squares: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the features of a batch of images: (n, ...) float32 for each tap.

        Args:
            positions: (n,) positions of the images in `bank.ids()`; -1 for those that the bank lacks.
            squares: (n, s, s, 3) uint8, n from 1 to the batch size.
        """
        known = positions >= 0 if self._stored else np.zeros(len(positions), bool)
        computed = self._engine(squares[~known]) if not known.all() else {}
        features = {}
        for tap in self._needed:
            stored = self._bank.rows(tap, positions[known]) if known.any() else computed[tap][:0]
            rows = np.empty((len(positions), *stored.shape[1:]), np.float32)
            rows[known] = stored
            if computed:
                rows[~known] = computed[tap]
            features[tap] = rows
        return features

    @cached_property
    def _engine(self) -> Any:
        backbone = self._backbone()
        with self._reporter.step(f"preparing the engine of {backbone.name}"):
            return load_engine(
                "auto", backbone, self._taps, batch_size=self._batch_size,
                precision=self._bank.recipe.get("precision", "float32"), cache=self._bank.path.parent,
                say=self._reporter.say,
            )  # fmt: skip

    def close(self) -> None:
        """Closes the engine, if it was loaded."""
        if "_engine" in self.__dict__:
            self._engine.close()


def taps_to_compute(bank: Bank, needed: Sequence[str]) -> tuple[str, ...]:
    """Returns the taps to ask an engine for: a converted network is found again only for the taps of the extraction.

    They are those of the bank, in their order, and then what it lacks: a map behind one of its averages needs no
    conversion of its own.
    """
    return (*bank.taps, *(tap for tap in needed if tap not in bank.taps))
