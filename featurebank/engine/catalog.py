"""The contract of engines, and the choice between them; `table` lists them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.devices import visible_gpus
from featurebank.engine.table import ENGINES
from featurebank.errors import ConfigError, EngineError, MissingDependencyError, unknown_name
from featurebank.words import counted

PRECISIONS = ("float32", "bfloat16", "float16")
"""What a network can be computed in; each engine tells which of them it has on which device."""


class Engine(Protocol):
    """Runs a backbone's taps over batches.

    The same image gives the same features, bit for bit, in any place of any batch of one engine. The class is called as
    `Class(backbone, taps, batch_size=, precision=, cache=, say=)`; see `load_engine` for these arguments and the errors
    to raise. `tests/engine/test_contract.py` tests every engine of the table.
    """

    name: str
    precision: str
    depth: int
    """How many batches to keep in flight, so that it never waits; further ones wait in a queue."""

    def submit(self, images: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Hands over a batch, and returns at once. Batches are answered in order, or nearly so.

        Args:
            images: (n, size, size, 3) uint8 RGB, n from 1 to the engine's batch size. It is read until the future is
                done: until then it must not be changed.

        Returns:
            For each tap (n, ...) float32, which belongs to the caller. Where the batch fails it raises EngineError;
            where the engine is closed before the batch was computed, it is cancelled.

        Raises:
            ValueError: the images have another shape or type.
            RuntimeError: the engine is closed.
        """

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the taps of a batch: `submit(images).result()`."""

    def close(self) -> None:
        """Ends the engine: what is being computed is finished, what has not begun is cancelled. Again does nothing."""


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is that one."""

    name: str
    reason: str


def choose_engine(asked: str, *, gpus: int, installed: Container[str]) -> Choice:
    """Decides which engine is tried first.

    Args:
        asked: a name of the table, or "auto".
        gpus: how many GPUs TensorFlow sees.
        installed: the names of the engines whose packages are installed.

    Raises:
        UnknownNameError: there is no such engine.
    """
    if asked not in {"auto", *ENGINES}:
        raise unknown_name("engine", asked, ["auto", *ENGINES])
    if asked != "auto":
        return Choice(asked, "asked for")
    names = _candidates(gpus)
    name = next((name for name in names if name in installed), names[-1])
    reason = f"{counted(gpus, 'GPU is', 'GPUs are')} visible" if gpus else "no GPU is visible"
    if missing := [ENGINES[faster].title for faster in names[: names.index(name)]]:
        reason += f", and {' and '.join(missing)}, which is faster, is not installed"
    return Choice(name, reason)


def automatic_choice() -> Choice:
    """Returns which engine "auto" tries first on this machine; imports neither TensorFlow nor OpenVINO without need."""
    installed = [name for name, kind in ENGINES.items() if kind.is_installed]
    return choose_engine("auto", gpus=visible_gpus(), installed=installed)


def _candidates(gpus: int) -> list[str]:
    """Returns the engines that "auto" may take, the fastest first."""
    return [name for name, kind in ENGINES.items() if kind.on_gpu or not gpus]


def load_engine(
    name: str, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
    cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
) -> Engine:  # fmt: skip
    """Returns an engine that is ready to run.

    Args:
        name: one of `ENGINES`, or "auto": the first of the table that computes on a GPU if one is visible, else the
            first of all. If its package is missing or it cannot run the network, the next of the table is taken.
        backbone: the network to run.
        taps: what to compute in one pass.
        batch_size: how many images are handed over at once.
        precision: one of `PRECISIONS`.
        cache: where an engine may keep what makes its next start quick; None keeps nothing.
        say: is told in one line what the user should know, as that "auto" had to fall back to another engine.

    Raises:
        UnknownNameError: there is no such engine, or the network has no such tap.
        ConfigError: the engine cannot compute in this precision on this machine.
        MissingDependencyError: the engine asked for is not installed.
        EngineError: the engine asked for cannot run this network.
    """
    if precision not in PRECISIONS:
        message = f"the precision is '{precision}': expected {', '.join(PRECISIONS)}"
        raise ConfigError(message)
    for asked in (names := _attempts(name)):
        try:
            return cast(
                "Engine",
                ENGINES[asked].load()(backbone, taps, batch_size=batch_size, precision=precision, cache=cache, say=say),
            )
        except (MissingDependencyError, EngineError) as error:
            if asked == names[-1]:
                raise
            say(f"engine {names[names.index(asked) + 1]} is taken, which is slower: {error}")
    raise AssertionError(names)  # there is always one


def _attempts(name: str) -> list[str]:
    """Returns the engines to try, in this order: the one that was asked for, or all from the automatic choice on."""
    if name != "auto":
        return [choose_engine(name, gpus=0, installed=()).name]
    names = _candidates(visible_gpus())
    return names[names.index(automatic_choice().name) :]
