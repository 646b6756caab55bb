"""PyTorch beside TensorFlow in one process."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")]

BOTH = """
import tensorflow
from featurebank.system.imports.torch import import_torch
import_torch()
import torch._dynamo  # as torchvision and timm do
print("alive")
"""


@pytest.mark.slow  # a process that imports both; the fast test shows how that is prevented
def test_what_torchvision_imports_does_not_end_a_process_with_tensorflow() -> None:
    done = subprocess.run([sys.executable, "-c", BOTH], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_without_a_gpu_triton_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.system.imports.torch import import_torch

    if import_torch().cuda.is_available():
        pytest.skip("a GPU may need Triton")
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    import_torch()
    with pytest.raises(ImportError):
        import triton  # noqa: F401
