"""Temporary files of killed processes go; those of living ones, and whatever is not ours, stay."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank.system.backing.temporaries import ABANDONED_S, remove_abandoned, temporary_folder, temporary_path
from featurebank.system.files import atomic_path, write_bytes


def put(path: Path, *, age: float = 2 * ABANDONED_S) -> Path:
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def write_file(directory: Path) -> None:
    write_bytes(directory / "file", b"whole")


def make_folder(directory: Path) -> None:
    with temporary_folder(directory) as folder:
        (folder / "file").write_bytes(b"whole")


@pytest.mark.parametrize("write", [write_file, make_folder])
def test_the_next_writer_removes_what_killed_processes_left(tmp_path: Path, write: Callable[[Path], None]) -> None:
    dead = [put(temporary_path(tmp_path.parent, "other.h5").parent / tmp_path.name / ".writing-0123456789ab-run.head")]
    with temporary_folder(tmp_path.parent) as folder:
        dead.append(folder.rename(tmp_path / folder.name))
        put(dead[1] / "model.keras")
        os.utime(dead[1], (0, 0))
        folder.mkdir()
    mine = [
        put(tmp_path / name, age=10 * ABANDONED_S) for name in (".writing-notes", ".writing-", "x.writing-0123456789ab")
    ]
    living = put(tmp_path / ".writing-ba9876543210-run.json", age=ABANDONED_S / 2)
    write(tmp_path)
    assert not [path for path in dead if path.exists()]
    assert all(path.exists() for path in [*mine, living])


def test_the_names_are_those_that_are_removed(tmp_path: Path) -> None:
    with atomic_path(tmp_path / ("ü" * 120 + "\n.json")) as temporary, temporary_folder(tmp_path) as folder:
        for path in (temporary, folder, temporary_path(tmp_path)):
            path.touch()
            os.utime(path, (0, 0))
        remove_abandoned(tmp_path)
        assert list(tmp_path.iterdir()) == []
        temporary.touch()
        folder.mkdir()


def test_a_folder_that_cannot_be_read_is_no_error(tmp_path: Path) -> None:
    remove_abandoned(tmp_path / "none")
    remove_abandoned(put(tmp_path / "file"))
