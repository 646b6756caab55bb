"""Triton, PyTorch's compiler for GPUs, which crashes when it is imported into a process that has TensorFlow."""

from __future__ import annotations

import sys
from typing import Any, cast


def hide_triton() -> None:
    """Lets the import of Triton fail from now on, unless it was imported before.

    Triton 3 and TensorFlow 2.21 each contain LLVM; the second that is loaded, if it is Triton's, ends the process with
    a segmentation fault. PyTorch imports Triton where it is installed, and does without it elsewhere: only
    `torch.compile` for GPUs needs it.
    """
    sys.modules.setdefault("triton", cast("Any", None))
