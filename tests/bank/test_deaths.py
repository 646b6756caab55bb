"""SIGKILL at every write, or at each third, of a clean-up, a merge, an update of a bank and a correction of labels."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from forks import run

pytestmark = pytest.mark.heavy


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("operation", ["gc", "merge", "update", "relabelling"])
def test_whatever_the_moment_of_death_the_bank_is_whole(operation: str, step: int) -> None:
    done = run([sys.executable, str(Path(__file__).with_name("deaths.py")), operation, str(step)], timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8, "deaths"
