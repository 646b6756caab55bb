"""TensorFlow and PyTorch in one process, in any order: the second of two copies of LLVM would end it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from featurebank.system.imports.triton import hide_triton
from tests.conftest import ROOT

BOTH = """
import sys
from featurebank.system.imports.torch import import_torch
from featurebank.system.runtime import import_tensorflow
for word in sys.argv[1:]:
    {"torch": import_torch, "tensorflow": import_tensorflow}[word]()
import torch._dynamo
print("alive", sys.modules.get("triton"))
"""


def test_it_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    hide_triton()
    with pytest.raises(ImportError):
        __import__("triton")
    monkeypatch.delitem(sys.modules, "triton")


def test_one_that_was_imported_before_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", sys)
    hide_triton()
    assert sys.modules["triton"] is sys


@pytest.mark.networks
@pytest.mark.heavy
@pytest.mark.parametrize("words", [("tensorflow", "torch"), ("torch", "tensorflow")])
def test_both_libraries_in_one_process(words: tuple[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", BOTH, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive None\n"), done.stderr
