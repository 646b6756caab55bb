"""Calls that a worker unpacks itself, so that one that cannot be imported there is an error and no death.

Dask reads the function of a task while it receives messages. If the worker cannot import the function, because it has
no featurebank or another version, its connection breaks and the worker ends; the one that replaces it dies of the next
message, and so on. So Dask gets only a function of Python itself, and the call as bytes.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from featurebank.cluster.packages import import_distributed

run_packed = pickle.loads
"""Runs on a worker: makes the call in the bytes of `packed_call`; returns its result, or raises its error."""


@dataclass(frozen=True)
class _Call:
    """Unpickles as the result of a call."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.args


def packed_call(function: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """Returns a call as bytes for `run_packed`, which raises ImportError or AttributeError if it lacks the function.

    Example:
        >>> run_packed(packed_call(max, (1, 2)))
        2
    """
    packed: bytes = import_distributed().protocol.pickle.dumps(_Call(function, args))  # also what __main__ defines
    return packed
