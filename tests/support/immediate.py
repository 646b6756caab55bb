"""What the engines of tests have in common: they compute in the thread that asks."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import numpy as np


class Immediate:
    """An engine whose `submit` has the features when it returns; a subclass gives `__call__`."""

    depth = 1
    """How many batches are kept in flight."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the taps of some images; see `featurebank.engine.catalog.Engine`."""
        raise NotImplementedError

    def submit(self, images: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Computes the taps of some images; what goes wrong is raised by the result."""
        done: Future[dict[str, np.ndarray]] = Future()
        try:
            done.set_result(self(images))
        except Exception as error:  # noqa: BLE001 - raised again where the result is taken
            done.set_exception(error)
        return done

    def close(self) -> None:
        """Lets go of the network."""


class PixelEngine(Immediate):
    """Features that are pixels: an engine that is there at once."""

    name, precision = "pixels", "float32"

    def __init__(self, taps: Any) -> None:
        self.taps = tuple(taps)
        self.images = 0

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        self.images += len(images)
        flat = images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255
        return {tap: flat + len(tap) for tap in self.taps}
