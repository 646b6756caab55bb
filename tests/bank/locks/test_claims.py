"""Claims: one holder a run, whoever asks, and none that a dead process keeps."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featurebank.bank.locks import note
from featurebank.bank.locks.claims import Claims, hold_run
from featurebank.errors import BankReadOnlyError, RunLockedError

CHILD = """
import sys
from pathlib import Path
from featurebank.bank.locks.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    print([claims.claim(run) for run in sys.argv[2:]], flush=True)
    sys.stdin.readline()
"""

ROOT = Path(__file__).resolve().parents[3]
RUNS = ("0000000000", "0000000001", "ffffffffff")


def ask(directory: Path, *runs: str) -> str:
    """What another process is told."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(directory), *runs], env={**os.environ, "PYTHONPATH": str(ROOT)}, input="\n",
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_run_is_claimed_once_between_processes(tmp_path: Path) -> None:
    with Claims(tmp_path) as mine:
        assert [mine.claim(run) for run in RUNS] == [True] * 3
        assert ask(tmp_path, *RUNS, "0000000002") == "[False, False, False, True]"
        mine.release(RUNS[1:])
        assert ask(tmp_path, *RUNS) == "[False, True, True]"
    assert ask(tmp_path, *RUNS) == "[True, True, True]"


def test_a_killed_process_keeps_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), RUNS[0]], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout
        assert other.stdout.readline() == "[True]\n"
        with Claims(tmp_path) as mine:
            assert not mine.claim(RUNS[0])
            other.kill()
            other.wait()
            assert mine.claim(RUNS[0])


def test_a_run_is_claimed_once_between_threads_of_a_process(tmp_path: Path) -> None:
    """POSIX's locks do not tell threads apart, and closing one handle frees what another one has locked."""
    found: list[bool] = []
    with Claims(tmp_path) as mine:
        assert mine.claim(RUNS[0])
        assert mine.claim(RUNS[0]), "twice is once"

        def ask_here() -> None:
            with Claims(tmp_path) as other:
                found.append(other.claim(RUNS[0]))
                found.append(other.claim(RUNS[1]))

        thread = threading.Thread(target=ask_here)
        thread.start()
        thread.join()
        assert found == [False, True]
        assert ask(tmp_path, *RUNS[:2]) == "[False, True]", "the other block's end has freed its own alone"


def test_the_file_has_no_content(tmp_path: Path) -> None:
    with Claims(tmp_path / "runs") as mine:
        assert not (tmp_path / "runs").exists(), "nothing is written where nothing is claimed"
        mine.claim(RUNS[2])
        assert (tmp_path / "runs" / ".claims").stat().st_size == 0


@pytest.mark.skipif(sys.platform == "win32", reason="other locks")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr("fcntl.lockf", refuse)
    told: list[str] = []
    with Claims(tmp_path, told.append) as mine:
        assert [mine.claim(run) for run in RUNS] == [True] * 3
        mine.release(RUNS)
        assert not mine.locks
    assert len(told) == 1
    assert "without file locks (no locks here)" in told[0]


@pytest.mark.skipif(sys.platform == "win32", reason="other locks")
def test_another_failure_is_no_lack_of_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(OSError, match="Input/output"), Claims(tmp_path) as mine:
        mine.claim(RUNS[0])


def test_a_disk_for_reading_only_is_explained_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with Claims(tmp_path / "runs") as claims:
        with pytest.raises(BankReadOnlyError, match=r"runs' is read-only \(Read.*choose another --cache"):
            claims.claim("0123456789")
        monkeypatch.undo()
        assert claims.claim("0123456789")


def test_two_threads_of_a_process(tmp_path: Path) -> None:
    found: list[str] = []
    told: list[str] = []

    def second() -> None:
        try:
            with hold_run(tmp_path, "00000000aa", told.append):
                found.append("begun")
        except RunLockedError as error:
            found.append(str(error))

    with hold_run(tmp_path, "00000000aa", told.append):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        (tmp_path / "00000000aa.holder").unlink()
        second()
    second()
    assert found[0].startswith(f"process {os.getpid()} on ")
    assert found[1].startswith("another process does this fine-tune (run 00000000aa): wait for it to end")
    assert found[2] == "begun"


@pytest.mark.skipif(sys.platform == "win32", reason="other locks")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_the_note_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A note that changes is of a living holder, whatever date it has; one that stays the same is of a dead one."""

    told: list[str] = []

    def refuse(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.lockf", refuse)
    for name, seconds in (("HEARTBEAT_S", 0.05), ("DEAD_AFTER_S", 0.5), ("LOOK_AGAIN_S", 0.05), ("SETTLE_S", 0.1)):
        monkeypatch.setattr(note, name, seconds)
    run = "00000000aa"
    with hold_run(tmp_path, run, told.append):
        here = rf"^process {os.getpid()} on .* has been doing this fine-tune \(run {run}\) since 20"
        with pytest.raises(RunLockedError, match=here), hold_run(tmp_path, run, told.append):
            pass
    left = {"host": "elsewhere", "process": 4711, "since": "2099-01-01T00:00:00Z"}
    (tmp_path / f"{run}.holder").write_text(json.dumps(left))
    with hold_run(tmp_path, run, told.append):
        assert json.loads((tmp_path / f"{run}.holder").read_text())["process"] == os.getpid()
    assert not (tmp_path / f"{run}.holder").exists()
