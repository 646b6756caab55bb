"""OpenVINO, imported without its telemetry, and the care that its threads need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.system.imports.openvino_views import separate_outputs
from featurebank.words import one_line

_STACK_T_BYTES = 64
"""Room for C's `stack_t`, which takes 24 bytes on today's systems."""


def import_openvino() -> Any:
    """Imports OpenVINO with its telemetry disabled.

    OpenVINO's package requires `openvino_telemetry`, which would report the import to a server and leave a file in the
    user's home. Without that package, OpenVINO uses an empty class in its place.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    telemetry = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import then finds no such module
    try:
        import openvino
    except ImportError as error:
        reason = one_line(str(error), 300)
        message = f"engine openvino: OpenVINO cannot be imported ({reason}): pip install 'openvino>=2025.1'"
        raise MissingDependencyError(message) from error
    finally:
        del sys.modules["openvino_telemetry"]
        if telemetry is not None:
            sys.modules["openvino_telemetry"] = telemetry
    return openvino


def compile_model(core: Any, model: Any, options: Mapping[str, Any]) -> Any:
    """Compiles a model for the processor; see `separate_outputs` and `preserve_signal_stack`.

    Args:
        core: the `openvino.Core`.
        model: the model to compile; outputs that share memory with others get memory of their own.
        options: properties of the CPU plugin.
    """
    with preserve_signal_stack():
        separate_outputs(import_openvino(), model)
        return core.compile_model(model, "CPU", dict(options))


@contextlib.contextmanager
def preserve_signal_stack() -> Iterator[None]:
    """Preserves this thread's signal stack, whatever OpenVINO does in the block.

    OpenVINO (2026.4) gives a computing thread an alternate stack for signals, and later frees that memory without
    unregistering the stack. The next signal, as Ctrl-C, then ended the process with a segmentation fault.
    """
    if os.name != "posix":
        yield
        return
    sigaltstack, state = ctypes.CDLL(None).sigaltstack, ctypes.create_string_buffer(_STACK_T_BYTES)
    known = sigaltstack(None, state) == 0
    try:
        yield
    finally:
        if known:
            sigaltstack(state, None)
