"""Passes of a user's module whose layers are watched, or whose outputs are replaced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from featurebank.backbone.torch_networks.recording import first_tensor
from featurebank.system.imports.torch import import_torch

_MAP = 4


def entry_of(module: Any, size: int, rows: int, width: int) -> tuple[str, tuple[str, tuple[int, ...]] | None]:
    """Finds the first module that takes all tokens, and the last map before it, (c, h, w)."""
    entry: list[str] = []
    maps: list[tuple[str, tuple[int, ...]]] = []

    def before(name: str, inputs: Sequence[Any]) -> None:
        tensor = first_tensor(inputs)
        if not entry and tensor is not None and tuple(tensor.shape[1:]) == (rows, width):
            entry.append(name)

    def after(name: str, output: Any) -> None:
        tensor = first_tensor(output)
        if not entry and tensor is not None and tensor.ndim == _MAP:
            maps.append((name, tuple(tensor.shape[1:])))

    with _hooks(module, before, after), import_torch().no_grad():
        module(import_torch().zeros(2, 3, size, size))
    return (entry[0] if entry else ""), (maps[-1] if maps else None)


class _Done(Exception):
    """Ends a pass."""


def run_part(module: Any, images: np.ndarray, entry: str, put: tuple[str, np.ndarray] | None = None) -> np.ndarray:
    """Returns what a layer takes, or the output of the module, when another layer's output is replaced.

    Args:
        module: the module.
        images: (n, 3, s, s) float32.
        entry: the layer that takes it; empty for the output.
        put: the name of the other layer and its output.
    """
    torch = import_torch()
    result: list[Any] = []

    def hook(_module: Any, inputs: Any) -> None:
        result.append(first_tensor(inputs))
        raise _Done

    handles = [module.get_submodule(entry).register_forward_pre_hook(hook)] if entry else []
    if put is not None:
        value = torch.from_numpy(np.ascontiguousarray(put[1], np.float32))
        handles.append(
            module.get_submodule(put[0]).register_forward_hook(lambda _module, _inputs, output: _like(output, value))
        )
    try:
        with torch.no_grad(), contextlib.suppress(_Done):
            result.append(module(torch.from_numpy(np.ascontiguousarray(images, np.float32))))
    finally:
        for handle in handles:
            handle.remove()
    return np.asarray(result[0].numpy())


def _like(output: Any, value: Any) -> Any:
    """Returns a value in the place of an output, or of the first of several."""
    return type(output)((value, *output[1:])) if isinstance(output, tuple | list) else value


def channels_first(values: np.ndarray) -> np.ndarray:
    """Returns (n, h, w, c) as (n, c, h, w)."""
    return values.transpose(0, 3, 1, 2)


@contextlib.contextmanager
def observed(module: Any, outputs: Sequence[str], inputs: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """Yields a dictionary that gets outputs and inputs of layers in a pass of this thread."""
    seen: dict[str, Any] = {}
    thread, handles = threading.get_ident(), []

    def keep(key: str, value: Any) -> None:
        if threading.get_ident() == thread:
            seen[key] = first_tensor(value)

    for name in filter(None, outputs):
        layer = module.get_submodule(name)
        handles.append(layer.register_forward_hook(lambda _m, _i, output, name=name: keep(name, output)))
    for name in filter(None, inputs):
        layer = module.get_submodule(name)
        handles.append(layer.register_forward_pre_hook(lambda _m, args, name=name: keep(f"input of {name}", args)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _hooks(
    module: Any, before: Callable[[str, Sequence[Any]], None], after: Callable[[str, Any], None]
) -> Iterator[None]:
    """Calls functions before and after each module while the block runs."""
    handles = []
    for name, part in module.named_modules():
        if name:
            handles.append(part.register_forward_pre_hook(lambda _m, args, name=name: before(name, args)))
            handles.append(part.register_forward_hook(lambda _m, _i, output, name=name: after(name, output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
