"""PyTorch without a GPU."""

from __future__ import annotations

import sys
import warnings

import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.networks]


def test_without_a_gpu_triton_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.system.imports.torch import has_gpu, import_torch

    torch = import_torch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    assert not has_gpu(import_torch())
    with pytest.raises(ImportError):
        __import__("triton")
    monkeypatch.undo()


def test_a_build_for_gpus_does_not_warn_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.system.imports.torch import has_gpu, import_torch

    def unavailable() -> bool:
        warnings.warn("CUDA initialization: Error 302: Error loading CUDA libraries", UserWarning, stacklevel=2)
        return False

    torch = import_torch()
    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    assert not has_gpu(torch)
