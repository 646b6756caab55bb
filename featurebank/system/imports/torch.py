"""PyTorch, imported with featurebank's number of threads."""

from __future__ import annotations

import contextlib
import sys
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
    if "tensorflow" in sys.modules:
        hide_triton()
    with step("loading PyTorch"):
        try:
            import torch
        except ImportError as error:
            message = f"PyTorch cannot be imported ({one_line(str(error), 200)}): pip install torch"
            raise MissingDependencyError(message) from error
    if not torch.cuda.is_available():
        # The compiled code of Triton and that of TensorFlow share names of LLVM: as soon as a process has both, it ends
        # with a segmentation fault. Torchvision and timm import Triton where it is installed, and only GPUs use it.
        sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
    with contextlib.suppress(RuntimeError):  # the threads are fixed once PyTorch has computed something
        torch.set_num_threads(threads())
    return torch
