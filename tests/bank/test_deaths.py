"""SIGKILL at every write, or at each third, of a clean-up, a merge, an update of a bank and a correction of labels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("operation", ["gc", "merge", "update", "relabelling"])
def test_whatever_the_moment_of_death_the_bank_is_whole(operation: str, step: int) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("deaths.py")), operation, str(step)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8, "deaths"
