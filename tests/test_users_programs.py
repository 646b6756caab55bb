"""What XLA compiles for users gives what it compiles for the tests, which have flags of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import compiled_heads
import numpy as np
import pytest

pytestmark = [pytest.mark.heavy, pytest.mark.xla]

ROOT = Path(__file__).resolve().parents[1]


def test_heads_of_a_user_are_those_of_the_tests(tmp_path: Path) -> None:
    """Dropout's masks are hashes of integers, so they are the same, too; the sums of float32 differ by 2e-7."""
    assert os.environ["XLA_FLAGS"], "or this would compare nothing"
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, compiled_heads.__file__, str(tmp_path / "users.npz")],
        env={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here = compiled_heads.probabilities()
    with np.load(tmp_path / "users.npz") as users:
        assert set(users) == set(here)
        for kind, found in here.items():
            assert 0.05 < found.std() < 0.45, f"{kind} has learned something, and its answers leave room for an error"
            np.testing.assert_allclose(users[kind], found, atol=1e-5, err_msg=kind)
