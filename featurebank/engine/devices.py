"""Detection of GPUs, without importing TensorFlow wherever that is possible."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from featurebank.system.runtime import import_tensorflow, installed_versions

_SIGNS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu")
"""Devices of Linux that hint at a GPU for TensorFlow: NVIDIA's, AMD's, Windows's (WSL), NVIDIA's embedded boards'."""
_PLUGINS = ("tensorflow-metal", "tensorflow-directml-plugin")
"""Packages through which TensorFlow uses GPUs on other systems."""


def visible_gpus() -> int:
    """Returns how many GPUs TensorFlow can use; without a hint at a GPU, TensorFlow is not imported."""
    if "tensorflow" not in sys.modules and not _may_have_gpu():
        return 0
    try:
        tf = sys.modules.get("tensorflow") or import_tensorflow()  # a forked process may query, though not compute
    except ImportError:
        return 0
    return len(tf.config.list_physical_devices("GPU"))


def _may_have_gpu() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    return any(Path(sign).exists() for sign in _SIGNS) or bool(installed_versions(*_PLUGINS))
