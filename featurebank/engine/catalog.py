"""The engines by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import numpy as np

from featurebank.backbone import Backbone
from featurebank.errors import unknown_name

ENGINES = ("tensorflow",)
"""The names that `--engine` takes, beside "auto"."""


class Engine(Protocol):
    """Runs a backbone's taps over batches."""

    name: str
    precision: str
    depth: int
    """How many batches are kept in flight, so that the engine never waits."""

    def submit(self, images: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Sends some images through the network; see `__call__`. The array may be changed once this returns.

        Returns:
            What `__call__` returns, when it is there; MemoryError where it did not fit into memory.
        """

    def close(self) -> None:
        """Lets go of the network."""

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the taps of some images.

        Args:
            images: (n, size, size, 3) uint8 RGB, n at most the engine's batch size.

        Returns:
            For each tap (n, ...) float32.
        """


def load_engine(
    name: str,
    backbone: Backbone,
    taps: Sequence[str],
    *,
    batch_size: int,
    precision: str = "float32",
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Returns an engine that is ready to run.

    Args:
        name: one of `ENGINES`, or "auto" for the fastest that is installed.
        backbone: the network to run.
        taps: what to compute in one pass.
        batch_size: how many images are run at once.

    Raises:
        UnknownNameError: there is no such engine, or the network has no such tap.
    """
    if name not in {"auto", *ENGINES}:
        raise unknown_name("engine", name, ["auto", *ENGINES])
    from featurebank.engine.tensorflow import TensorFlowEngine

    return TensorFlowEngine(backbone, taps, batch_size=batch_size)
