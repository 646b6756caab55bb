"""A file is the old one or the new one, never a part, and nothing is left beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from featurebank.errors import ConfigError, DiskFullError
from featurebank.system.files import atomic_path, check_output, explain_full_disk, write_bytes, write_json


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_alone(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise failure

    with pytest.raises(failure):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_meanwhile_sees_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_json_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"ü": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert path.read_text(encoding="utf-8") == '{\n "ü": 1\n}\n'


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_explained_in_one_line(number: int) -> None:
    with pytest.raises(DiskFullError, match="free some space") as caught, explain_full_disk(Path("x")):
        raise OSError(number, "full")
    assert "\n" not in str(caught.value)


def test_other_errors_pass() -> None:
    with pytest.raises(PermissionError), explain_full_disk(Path("x")):
        raise PermissionError(errno.EACCES, "no")


def test_a_real_full_device() -> None:
    with pytest.raises(DiskFullError), explain_full_disk(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


def test_paths_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.svg").mkdir()
    for path, reason in {
        "c.gif": r"cannot write '.*c\.gif': expected a name that ends with \.png or \.svg$",
        "c": "expected a name that ends with",
        "gone/c.png": r"there is no folder '.*gone'; create it, or choose another path$",
        "c.svg": "it is a folder; choose another path$",
    }.items():
        with pytest.raises(ConfigError, match=reason):
            check_output(tmp_path / path, force=True, suffixes=(".png", ".svg"))


def test_an_existing_file_needs_force(tmp_path: Path) -> None:
    (tmp_path / "page.html").touch()
    with pytest.raises(ConfigError, match=r"page\.html' exists: choose another path, or replace it with --force"):
        check_output(tmp_path / "page.html")
    assert check_output(tmp_path / "page.html", force=True) == tmp_path / "page.html"


def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    with pytest.raises(ConfigError, match="it is a named pipe"):
        check_output(tmp_path / "pipe.html", force=True)
    (tmp_path / "link.html").symlink_to(tmp_path / "nothing.html")
    with pytest.raises(ConfigError, match="exists"):
        check_output(tmp_path / "link.html")
    with pytest.raises(ConfigError, match=r"too long; choose another path"):
        check_output(tmp_path / ("x" * 300 + ".html"))


def test_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".html")
    write_bytes(check_output(path), b"new")
    assert list(tmp_path.iterdir()) == [path]
