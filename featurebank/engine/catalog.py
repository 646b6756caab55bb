"""The engines by name, and which of them is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from featurebank.backbone import Backbone
from featurebank.engine.devices import visible_gpus
from featurebank.errors import ConfigError, EngineError, MissingDependencyError, unknown_name

ENGINES = ("openvino", "tensorflow")
"""The names that `--engine` takes, beside "auto"."""

PRECISIONS = ("float32", "bfloat16", "float16")
"""What a network can be computed in; each engine tells which of them it has on which device."""


class Engine(Protocol):
    """Runs a backbone's taps over batches.

    The same image gives the same features, bit for bit, in any place of any batch of one engine.
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


def choose_engine(asked: str, *, gpus: int, openvino: bool) -> Choice:
    """Decides which engine is tried first.

    Args:
        asked: one of `ENGINES`, or "auto".
        gpus: how many GPUs TensorFlow sees.
        openvino: whether OpenVINO is installed.

    Raises:
        UnknownNameError: there is no such engine.
    """
    if asked not in {"auto", *ENGINES}:
        raise unknown_name("engine", asked, ["auto", *ENGINES])
    if asked != "auto":
        return Choice(asked, "asked for")
    if gpus:
        return Choice("tensorflow", f"{gpus} GPU{'s are' if gpus > 1 else ' is'} visible")
    if openvino:
        return Choice("openvino", "no GPU is visible")
    return Choice("tensorflow", "no GPU is visible, and OpenVINO, which is faster, is not installed")


def automatic_choice() -> Choice:
    """Returns which engine "auto" tries first on this machine; imports neither TensorFlow nor OpenVINO without need."""
    from featurebank.engine.openvino import openvino_version

    return choose_engine("auto", gpus=visible_gpus(), openvino=openvino_version() is not None)


def load_engine(
    name: str, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
    cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
) -> Engine:  # fmt: skip
    """Returns an engine that is ready to run.

    Args:
        name: one of `ENGINES`, or "auto": TensorFlow on a GPU, else OpenVINO, else (where OpenVINO is missing or cannot
            run the network) TensorFlow on the processor.
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
    choice = automatic_choice() if name == "auto" else choose_engine(name, gpus=0, openvino=True)
    if choice.name == "openvino":
        from featurebank.engine.openvino import OpenVINOEngine

        try:
            return OpenVINOEngine(backbone, taps, batch_size=batch_size, precision=precision, cache=cache, say=say)
        except (MissingDependencyError, EngineError) as error:
            if name != "auto":
                raise
            say(f"engine tensorflow is taken, which is slower: {error}")
    from featurebank.engine.tensorflow import TensorFlowEngine

    return TensorFlowEngine(backbone, taps, batch_size=batch_size, precision=precision)
