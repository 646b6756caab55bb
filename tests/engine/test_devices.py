"""GPUs are found without TensorFlow where there are none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from featurebank.engine import devices
from tests.conftest import ROOT

pytestmark = pytest.mark.heavy

ASK = """
import sys
from featurebank.engine import devices
devices._SIGNS = sys.argv[1:]
print(devices.visible_gpus(), "tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(
    ("signs", "hidden", "expected"),
    [([], None, "0 False"), (["."], "-1", "0 False"), (["."], "", "0 False"), (["."], None, "0 True")],
)
def test_tensorflow_is_asked_where_something_hints_at_a_gpu(
    signs: list[str], hidden: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = subprocess.run([sys.executable, "-c", ASK, *signs], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("no TensorFlow")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_SIGNS", (str(ROOT),))
    monkeypatch.setattr(devices, "import_tensorflow", fail)
    assert devices.visible_gpus() == 0
