"""Detection of GPUs, without importing TensorFlow or PyTorch wherever that is possible."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from featurebank.errors import MissingDependencyError
from featurebank.system.imports.torch import has_gpu, import_torch
from featurebank.system.runtime import import_tensorflow, installed_versions

_SIGNS = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg", "/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu")
"""Devices of Linux that hint at a GPU: NVIDIA's, AMD's, Windows's (WSL), NVIDIA's embedded boards'."""
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


def visible_torch_gpus() -> int:
    """Returns how many GPUs PyTorch can use; without a hint at a GPU, PyTorch is not imported."""
    if "torch" not in sys.modules and not _has_device():
        return 0
    try:
        torch = import_torch()
    except MissingDependencyError:
        return 0
    return int(torch.cuda.device_count()) if has_gpu(torch) else 0  # also AMD's


_SEEN_BY = {"keras": visible_gpus, "pytorch": visible_torch_gpus}


def gpus_for(form: str) -> int:
    """Returns how many GPUs can compute a network of this form, as far as engines exist for it.

    Args:
        form: see `Backbone.form`. Only the package that would compute the network is imported, and only after a hint at
            a GPU.
    """
    return _SEEN_BY[form]() if form in _SEEN_BY else 0


def _may_have_gpu() -> bool:
    return _has_device() or (_allowed() and bool(installed_versions(*_PLUGINS)))


def _has_device() -> bool:
    return _allowed() and any(Path(sign).exists() for sign in _SIGNS)


def _allowed() -> bool:
    return os.environ.get("CUDA_VISIBLE_DEVICES") not in {"", "-1"}
