"""Temporary directories beside a bank's runs: removed at the end, after an interrupt, and after a death."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from featurebank.bank.locks.scratch import PREFIX, Scratch
from featurebank.errors import DiskFullError
from featurebank.system.parallel import clean_up


def directories(bank: Path) -> list[Path]:
    return sorted((bank / "runs").glob(f"{PREFIX}*"))


def test_it_exists_until_it_is_closed(tmp_path: Path) -> None:
    one, other = Scratch(tmp_path, 10), Scratch(tmp_path, 10)
    for scratch in (one, other):
        (scratch.path / "page").write_bytes(b"bins")
    assert one.path.is_dir()
    one.close()
    one.close()
    assert directories(tmp_path) == [other.path, other.path.with_name(f"{other.path.name}.lock")]
    other.close()
    assert directories(tmp_path) == []


def test_an_interrupted_process_removes_it(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path, 10)
    clean_up()
    assert directories(tmp_path) == []
    scratch.close()


def test_the_next_one_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from featurebank.bank.locks.scratch import Scratch
(Scratch(Path({str(tmp_path)!r}), 10).path / "page").write_bytes(b"bins")
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert len(directories(tmp_path)) == 2
    scratch = Scratch(tmp_path, 10)
    assert directories(tmp_path)[0] == scratch.path
    assert len(directories(tmp_path)) == 2
    scratch.close()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DiskFullError, match=r"need about 1000\.0 TB, and .* are free: .* --sample N, or increase --ram"
    ):
        Scratch(tmp_path, 10**15)
    assert directories(tmp_path) == []
