"""PyTorch, imported with featurebank's number of threads."""

from __future__ import annotations

import contextlib
import sys
import warnings
from typing import Any

from featurebank.errors import MissingDependencyError
from featurebank.system.imports.triton import hide_triton
from featurebank.system.progress import step
from featurebank.system.runtime import threads
from featurebank.words import one_line


def import_torch() -> Any:
    """Imports PyTorch, and sets its threads.

    Returns:
        The module `torch`.

    Raises:
        MissingDependencyError: PyTorch is not installed.
    """
    with step("loading PyTorch"):
        try:
            import torch
        except ImportError as error:
            message = f"PyTorch cannot be imported ({one_line(str(error), 200)}): pip install torch"
            raise MissingDependencyError(message) from error
    if "tensorflow" in sys.modules or not has_gpu(torch):  # only GPUs use it; torchvision and timm import it anyway
        hide_triton()
    with contextlib.suppress(RuntimeError):  # the threads are fixed once PyTorch has computed something
        torch.set_num_threads(threads())
    return torch


def has_gpu(torch: Any) -> bool:
    """Returns whether PyTorch can compute on a GPU; where there is none, its build for GPUs would warn."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "CUDA initialization", UserWarning)
        return bool(torch.cuda.is_available())
