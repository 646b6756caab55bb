"""The table of the engines; it is light, because the command line reads it for `--engine`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class EngineKind:
    """An engine before it is loaded.

    Args:
        title: its name in sentences.
        target: "module:Class", imported on use; the class is an `Engine` (see `featurebank.engine.catalog`).
        package: the Python package that it needs.
        forms: the kinds of networks that it runs; see `Backbone.form`.
        on_gpu: whether it computes on a GPU, if its package sees one.
    """

    title: str
    target: str
    package: str
    forms: tuple[str, ...]
    on_gpu: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed; nothing is imported."""
        return find_spec(self.package) is not None

    def load(self) -> Any:
        """Imports the class."""
        module, _, name = self.target.partition(":")
        return getattr(importlib.import_module(module), name)


ENGINES = {
    "openvino": EngineKind(
        "OpenVINO", "featurebank.engine.openvino:OpenVINOEngine", "openvino", ("keras", "pytorch", "openvino")
    ),
    "tensorflow": EngineKind(
        "TensorFlow", "featurebank.engine.tensorflow:TensorFlowEngine", "tensorflow", ("keras",), on_gpu=True
    ),
    "pytorch": EngineKind("PyTorch", "featurebank.engine.pytorch:PyTorchEngine", "torch", ("pytorch",), on_gpu=True),
}
"""The engines by the values of `--engine` besides "auto", the fastest on a processor first."""
