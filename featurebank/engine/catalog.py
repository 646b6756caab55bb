"""The contract of engines, and the choice between them; `table` lists them."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.network import FORMS
from featurebank.engine.devices import gpus_for
from featurebank.engine.table import ENGINES
from featurebank.errors import ConfigError, EngineError, MissingDependencyError, unknown_name
from featurebank.words import counted

PRECISIONS = ("float32", "bfloat16", "float16")
"""The precisions of the computation; each engine supports some of them, depending on the device."""


class Engine(Protocol):
    """Runs a backbone's taps over batches of images.

    An image has the same features, bit for bit, at every position of every batch of one engine. The class is called as
    `Class(backbone, taps, batch_size=, precision=, cache=, say=)`; see `load_engine` for these arguments and the errors
    to raise. `tests/engine/test_contract.py` tests every engine of the table.
    """

    name: str
    precision: str
    depth: int
    """Number of batches to keep in flight, so that the engine never idles; further ones wait in a queue."""

    def submit(self, images: np.ndarray) -> Future[dict[str, np.ndarray]]:
        """Submits a batch and returns at once. Batches are computed in order, or nearly so.

        Args:
            images: (n, size, size, 3) uint8 RGB, n from 1 to the engine's batch size. The array must not change before
                the future is done.

        Returns:
            A future of a dict with (n, ...) float32 for each tap; the arrays belong to the caller. The future raises
                EngineError if the batch fails, and is cancelled if the engine closes before the batch was computed.

        Raises:
            ValueError: the images have the wrong shape or type.
            RuntimeError: the engine is closed.
        """

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the taps of a batch: `submit(images).result()`."""

    def close(self) -> None:
        """Closes the engine: running requests finish, waiting ones are cancelled. Further calls do nothing."""


@dataclass(frozen=True)
class Choice:
    """An engine, and the reason for choosing it."""

    name: str
    reason: str


def choose_engine(request: str, *, gpus: int, installed: Container[str], form: str = "keras") -> Choice:
    """Decides which engine to try first.

    Args:
        request: a name of the table, or "auto".
        gpus: number of GPUs that can compute a network of this form.
        installed: the names of the engines whose packages are installed.
        form: what the network is made in; see `Backbone.form`.

    Raises:
        UnknownNameError: there is no such engine.
        ConfigError: the engine does not run networks of this form.

    Example:
        >>> choose_engine("auto", gpus=0, installed={"openvino", "tensorflow"})
        Choice(name='openvino', reason='no GPU is visible')
        >>> choose_engine("auto", gpus=1, installed={"openvino", "pytorch"}, form="pytorch")
        Choice(name='pytorch', reason='1 GPU is visible')
    """
    if request not in {"auto", *ENGINES}:
        raise unknown_name("engine", request, ["auto", *ENGINES])
    if request != "auto":
        _check_form(request, form)
        return Choice(request, "asked for")
    names = _candidates(form, gpus)
    name = next((name for name in names if name in installed), names[-1])
    reason = f"{counted(gpus, 'GPU is', 'GPUs are')} visible" if gpus else "no GPU is visible"
    if missing := [ENGINES[faster].title for faster in names[: names.index(name)]]:
        reason += f", and {' and '.join(missing)}, which is faster, is not installed"
    return Choice(name, reason)


def automatic_choice(form: str = "keras") -> Choice:
    """Returns the engine that "auto" tries first on this machine; imports TensorFlow or PyTorch only if needed.

    Args:
        form: what the network is made in; see `Backbone.form`.
    """
    installed = [name for name, kind in ENGINES.items() if kind.is_installed]
    return choose_engine("auto", gpus=gpus_for(form), installed=installed, form=form)


def check_engine(name: str, backbone: Backbone) -> None:
    """Checks that an engine runs networks of this kind, before anything is computed.

    Args:
        name: one of `ENGINES`, or "auto".
        backbone: the network; it is not built.

    Raises:
        UnknownNameError: there is no such engine.
        ConfigError: the engine does not run networks of this form; the message names those that do.
    """
    choose_engine(name, gpus=0, installed=(), form=backbone.form)


def _check_form(name: str, form: str) -> None:
    if form in ENGINES[name].forms:
        return
    able = ["auto", *(other for other, kind in ENGINES.items() if form in kind.forms)]
    message = f"engine {name} cannot run networks of {FORMS[form]}: expected {' or '.join(able)}"
    raise ConfigError(message)


def _candidates(form: str, gpus: int) -> list[str]:
    """Returns the engines that "auto" may choose, the fastest first."""
    able = [name for name, kind in ENGINES.items() if form in kind.forms]
    return [name for name in able if ENGINES[name].on_gpu] if gpus else able


def load_engine(
    name: str, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
    cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
) -> Engine:  # fmt: skip
    """Loads an engine that is ready to run.

    Args:
        name: one of `ENGINES`, or "auto": of those that run networks of this form, the first that computes on a GPU if
            one is visible, else the first of all. If its package is missing or it cannot run the network, the next of
            the table is used.
        backbone: the network to run.
        taps: the taps to compute in one pass.
        batch_size: number of images per batch.
        precision: one of `PRECISIONS`.
        cache: directory for files that speed up the next start; None writes none.
        say: callback that receives one-line notes for the user, as that "auto" fell back to another engine.

    Raises:
        UnknownNameError: there is no such engine, or the network has no such tap.
        ConfigError: the engine cannot compute in this precision on this machine, or cannot run networks of this form.
        MissingDependencyError: the named engine is not installed.
        EngineError: the named engine cannot run this network.

    Example:
        >>> import numpy as np
        >>> engine = load_engine("auto", fb.load_backbone("my_networks:small"), ["pooled"], batch_size=32)
        >>> engine(np.zeros((2, 32, 32, 3), np.uint8))["pooled"].shape
        (2, 16)
    """
    if precision not in PRECISIONS:
        message = f"the precision is '{precision}': expected {', '.join(PRECISIONS)}"
        raise ConfigError(message)
    for candidate in (names := _attempts(name, backbone.form)):
        try:
            engine = ENGINES[candidate].load()(
                backbone, taps, batch_size=batch_size, precision=precision, cache=cache, say=say
            )
            return cast("Engine", engine)
        except (MissingDependencyError, EngineError) as error:
            if candidate == names[-1]:
                raise
            say(f"engine {names[names.index(candidate) + 1]} is used, which is slower: {error}")
    raise AssertionError(names)  # the last attempt returns or raises


def _attempts(name: str, form: str) -> list[str]:
    """Returns the engines to try, in order: the named one, or all from the automatic choice on."""
    if name != "auto":
        return [choose_engine(name, gpus=0, installed=(), form=form).name]
    choice = automatic_choice(form)
    names = _candidates(form, gpus_for(form))
    return names[names.index(choice.name) :]
