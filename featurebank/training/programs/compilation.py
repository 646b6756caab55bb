"""How the functions of a training step become compiled programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from featurebank.training import programs


class CompiledFunction:
    """A function that XLA compiles at its first call; see `programs.XLA`.

    Args:
        function: takes and returns tensors.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._by_xla: dict[bool, Any] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Runs the program."""
        return self._program()(*arguments)

    def get_concrete_function(self, *arguments: Any) -> Any:
        """Returns the program for arguments of these sizes."""
        return self._program().get_concrete_function(*arguments)

    def _program(self) -> Any:
        if programs.XLA not in self._by_xla:
            program = tf.function(self._function, jit_compile=programs.XLA, autograph=False)
            self._by_xla[programs.XLA] = program
        return self._by_xla[programs.XLA]


def traced_once(function: Any) -> Callable[..., Any]:
    """Returns a function that is traced at its first call, and whose arrays keep the sizes of that call.

    TensorFlow's own way would warn a user who trains many shapes of heads that a function is traced again and again.

    Args:
        function: a `CompiledFunction`, or a `tf.function` that calls some.
    """
    by_xla: dict[bool, Any] = {}

    def call(*arguments: Any) -> Any:
        if programs.XLA not in by_xla:
            by_xla[programs.XLA] = function.get_concrete_function(*arguments)
        return by_xla[programs.XLA](*arguments)

    return call
