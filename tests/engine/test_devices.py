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
devices._SIGNS = sys.argv[2:]
print(devices.gpus_for(sys.argv.pop(1)), "tensorflow" in sys.modules, "torch" in sys.modules)
"""


@pytest.mark.parametrize(
    ("form", "signs", "hidden", "expected"),
    [
        ("keras", [], None, "0 False False"),
        ("keras", ["."], "-1", "0 False False"),
        ("keras", ["."], "", "0 False False"),
        ("keras", ["."], None, "0 True False"),
        ("pytorch", [], None, "0 False False"),
        pytest.param("pytorch", ["."], None, "0 False True", marks=pytest.mark.networks),
        ("openvino", ["."], None, "0 False False"),
    ],
)
def test_the_package_of_the_network_is_asked_where_something_hints_at_a_gpu(
    form: str, signs: list[str], hidden: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    found = subprocess.run(
        [sys.executable, "-c", ASK, form, *signs], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == expected


def test_without_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("no TensorFlow")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "_SIGNS", (str(ROOT),))
    monkeypatch.setattr(devices, "import_tensorflow", fail)
    assert devices.visible_gpus() == 0
