"""Benchmarks run to their end: what they measure has moved more than once since they were written."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.heavy]

ROOT = Path(__file__).resolve().parent.parent
NAMES = runpy.run_path(str(ROOT / "benchmarks" / "__main__.py"))["NAMES"]  # benchmarks are not installed


@pytest.mark.parametrize("name", [name for name in NAMES if name != "foreign"])  # `extraction` runs it
def test_a_benchmark_runs_and_writes_its_figures(name: str, tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--rounds", "1", "--output", str(output)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=900,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(output.read_text())
