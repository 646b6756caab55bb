"""The PyTorch engine: the network as it was published, in inference mode, on a GPU where PyTorch sees one."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.torch_networks.network import TorchBackbone
from featurebank.engine.devices import visible_torch_gpus
from featurebank.engine.pool import PooledEngine, request_size
from featurebank.errors import ConfigError, EngineError
from featurebank.system.imports.torch import import_torch
from featurebank.words import one_line

PRECISIONS = ("float32", "bfloat16", "float16")
"""The supported precisions; the last only on a GPU."""

_REQUEST = 8
"""Images of 224 x 224 pixels per request on a processor."""

_OUT_OF_MEMORY = ("out of memory", "allocate memory", "not enough memory")
"""Signs of a lack of memory in PyTorch's messages; it has an exception for that on GPUs alone."""


class PyTorchEngine(PooledEngine):
    """Runs a backbone's taps in PyTorch, in requests of a fixed shape.

    On a processor one request uses all threads. On a GPU there are two requests, each with a stream of its own: while
    one computes, the other copies its images or features.

    Args:
        backbone: the network to run, one of PyTorch.
        taps: what to compute in one pass.
        batch_size: how many images are handed over at once.
        precision: "float32", "bfloat16" (by autocast), or on a GPU "float16".
        cache: not used: nothing of this engine would make its next start faster.
        say: not used: this engine has no notes.

    Raises:
        MissingDependencyError: PyTorch is not installed.
        ConfigError: the engine or the device does not support the precision.
        UnknownNameError: the network has no such tap.
    """

    name = "pytorch"

    def __init__(
        self, backbone: Backbone, taps: Sequence[str], *, batch_size: int, precision: str = "float32",
        cache: Path | None = None, say: Callable[[str], None] = lambda line: None,
    ) -> None:  # fmt: skip
        gpus = visible_torch_gpus()
        _check_precision(precision, gpus)
        torch = import_torch()
        _compute_exactly(torch)
        device, size = torch.device("cuda" if gpus else "cpu"), backbone.image_size
        request = batch_size if gpus else request_size(size, batch_size, most=_REQUEST)
        module = cast("TorchBackbone", backbone).tap_module(taps)
        if gpus:  # the network itself stays on the processor, where others may use it
            module = copy.deepcopy(module)
        module = module.to(device=device, memory_format=torch.channels_last)
        forward = _Forward(torch, module, taps, device, precision)
        runs = [_PyTorchRequest(forward, (request, size, size, 3)) for _ in range(2 if gpus else 1)]
        super().__init__(runs, request=request, batch_size=batch_size, image_size=size)
        self.precision = precision


def _check_precision(precision: str, gpus: int) -> None:
    if precision not in PRECISIONS:
        message = f"engine pytorch cannot compute in '{precision}': expected {', '.join(PRECISIONS)}"
        raise ConfigError(message)
    if precision == "float16" and not gpus:
        message = "engine pytorch computes in float16 only on a GPU, and none is visible: use float32 or bfloat16"
        raise ConfigError(message)


def _compute_exactly(torch: Any) -> None:
    """Makes float32 mean all of its bits on recent GPUs, which would multiply with 10 of 23, and algorithms fixed."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False  # it would choose an algorithm by its speed at the moment
    torch.backends.cudnn.deterministic = True


class _Forward:
    """The module on its device, which one thread at a time may run."""

    def __init__(self, torch: Any, module: Any, taps: Sequence[str], device: Any, precision: str) -> None:
        self.torch, self.device = torch, device
        self._module, self._taps, self._lock = module, tuple(taps), threading.Lock()
        self._dtype = getattr(torch, precision)

    def __call__(self, images: Any) -> dict[str, Any]:
        """Runs the module; on a GPU, returns when the work is queued."""
        with self._lock, self._autocast():
            return dict(zip(self._taps, self._module(images), strict=True))

    def _autocast(self) -> Any:
        if self._dtype is self.torch.float32:
            return contextlib.nullcontext()
        return self.torch.autocast(self.device.type, dtype=self._dtype)


class _PyTorchRequest:
    """A buffer of images that is always full, so that all requests have one shape, and a stream of a GPU."""

    def __init__(self, forward: _Forward, shape: tuple[int, ...]) -> None:
        torch, on_gpu = forward.torch, forward.device.type == "cuda"
        self._forward = forward
        self._buffer = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_gpu)
        self._stream = torch.cuda.stream(torch.cuda.Stream()) if on_gpu else contextlib.nullcontext()

    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        count, forward = len(images), self._forward
        self._buffer.numpy()[:count] = images
        with _explained(forward.torch), forward.torch.inference_mode(), self._stream:
            features = forward(self._buffer.to(forward.device, non_blocking=True))
            return {tap: value.float().cpu().numpy()[:count] for tap, value in features.items()}


@contextlib.contextmanager
def _explained(torch: Any) -> Iterator[None]:
    """Turns PyTorch's errors into MemoryError and EngineError."""
    try:
        yield
    except RuntimeError as error:
        reason = one_line(str(error), 300)
        if isinstance(error, torch.OutOfMemoryError) or any(sign in reason for sign in _OUT_OF_MEMORY):
            raise MemoryError(reason) from error
        message = f"engine pytorch failed on a batch: {reason}; try a smaller --batch-size"
        raise EngineError(message) from error
