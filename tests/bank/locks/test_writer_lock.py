"""One writer at a time, and the dead do not count."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
from forks import Fork

from featurebank.bank.locks import note, writer_lock
from featurebank.bank.locks.writer_lock import WriterLock, read_holder
from featurebank.errors import BankLockedError, BankReadOnlyError

pytestmark = pytest.mark.heavy

HOLD = """
import sys, time
from pathlib import Path
from featurebank.bank.locks.writer_lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = Fork([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def leave_note(path: Path, host: str, seconds_ago: float) -> None:
    value = {"host": host, "process": 4711, "heartbeat": time.time() - seconds_ago}
    (path / "writer.json").write_text(json.dumps(value))


def test_second_is_refused_until_the_first_dies(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        try:
            with pytest.raises(BankLockedError, match=f"process {process.pid} on"), WriterLock(tmp_path):
                pass
        finally:
            process.send_signal(signal.SIGKILL)
    assert read_holder(tmp_path)
    with WriterLock(tmp_path):
        assert read_holder(tmp_path) == {**read_holder(tmp_path), "process": os.getpid()}  # type: ignore[dict-item]
    assert read_holder(tmp_path) is None


def test_a_holder_that_has_yet_to_write_its_note_is_named(tmp_path: Path) -> None:
    leave_note(tmp_path, "the dead before", 4000)
    with filelock.FileLock(tmp_path / writer_lock.LOCK):
        threading.Timer(0.3, leave_note, (tmp_path, "here", 0)).start()
        with pytest.raises(BankLockedError, match="process 4711 on here"), WriterLock(tmp_path):
            pass


def test_two_in_one_process(tmp_path: Path) -> None:
    with WriterLock(tmp_path), pytest.raises(BankLockedError), WriterLock(tmp_path):
        pass
    with WriterLock(tmp_path):
        pass


def test_heartbeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(note, "HEARTBEAT_S", 0.02)
    with WriterLock(tmp_path):
        first = read_holder(tmp_path)
        assert first
        deadline = time.monotonic() + 10
        while (read_holder(tmp_path) or first)["heartbeat"] <= first["heartbeat"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1}', '{"host": "a", "process": "x", "heartbeat": 1}'])
def test_unreadable_note_holds_nobody_up(tmp_path: Path, text: str) -> None:
    (tmp_path / "writer.json").write_text(text)
    assert read_holder(tmp_path) is None
    with WriterLock(tmp_path):
        pass


def test_note_that_cannot_be_written_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "writer.json").mkdir()
    refused = WriterLock(tmp_path)
    with pytest.raises(OSError, match="directory"):
        refused.__enter__()
    (tmp_path / "writer.json").rmdir()
    with WriterLock(tmp_path):
        pass


def test_waiting_for_the_holder(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path) as process:
        threading.Timer(0.3, process.terminate).start()
        with WriterLock(tmp_path, wait=True, say=said.append):
            assert process.poll() is not None
    assert said[0].startswith(f"waiting: process {process.pid} on {socket.gethostname()}")
    assert said[0].endswith(f" writes the bank '{tmp_path}'")
    assert len([line for line in said if line.startswith("waiting")]) == 1


def test_the_dead_are_told(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
    said: list[str] = []
    with WriterLock(tmp_path, say=said.append):
        pass
    assert [line.partition(" ended")[0] for line in said] == [f"process {process.pid} on {socket.gethostname()}"]
    with WriterLock(tmp_path, say=said.append):
        pass
    assert len(said) == 1, "once"


# ---- disks without locks, and hosts with other clocks

RACE = """
import errno, fcntl, sys, time
from pathlib import Path
from featurebank.bank.locks import note
from featurebank.bank.locks.writer_lock import WriterLock
from featurebank.errors import BankLockedError, BankReadOnlyError

def refuse(*_):
    raise OSError(int(sys.argv[2]), "no locks")
fcntl.flock = refuse
note.HEARTBEAT_S, note.DEAD_AFTER_S, note.LOOK_AGAIN_S, note.SETTLE_S = 0.05, 1.5, 0.05, 0.4
path = Path(sys.argv[1])
while True:
    try:
        with WriterLock(path, wait=True, say=lambda line: print(line, flush=True)):
            with (path / "log").open("a") as file:
                print("in", file=file, flush=True)
                print("held", flush=True)
                time.sleep(float(sys.argv[3]))
                print("out", file=file, flush=True)
        break
    except BankLockedError:
        continue
"""
NONE = pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])


def without_locks(path: Path, number: int, hold_s: float) -> subprocess.Popen[str]:
    return Fork([sys.executable, "-c", RACE, str(path), str(number), str(hold_s)], stdout=subprocess.PIPE, text=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A minute that takes a second."""
    for name, seconds in (("HEARTBEAT_S", 0.05), ("DEAD_AFTER_S", 1.0), ("LOOK_AGAIN_S", 0.05), ("SETTLE_S", 0.1)):
        monkeypatch.setattr(note, name, seconds)
    return monkeypatch


def refuse_flock(quick: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no locks")

    quick.setattr("fcntl.flock", refuse)


@NONE
def test_where_there_are_no_locks_the_note_is_one(tmp_path: Path, quick: pytest.MonkeyPatch, number: int) -> None:
    refuse_flock(quick, number)
    with WriterLock(tmp_path), pytest.raises(BankLockedError, match=rf"process {os.getpid()} on"), WriterLock(tmp_path):
        pass
    with WriterLock(tmp_path):
        pass
    assert read_holder(tmp_path) is None


@NONE
def test_the_dead_of_a_disk_without_locks_are_taken_over(
    tmp_path: Path, quick: pytest.MonkeyPatch, number: int
) -> None:
    refuse_flock(quick, number)
    with without_locks(tmp_path, number, 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BankLockedError, match=rf"process {process.pid} on"), WriterLock(tmp_path):
            pass
        process.kill()
        process.wait()
    said: list[str] = []
    with WriterLock(tmp_path, say=said.append):
        pass
    assert f"process {process.pid} on {socket.gethostname()} ended without releasing" in said[-1]


def test_on_a_disk_without_locks_there_is_one_holder_at_a_time(tmp_path: Path) -> None:
    processes = [without_locks(tmp_path, errno.ENOSYS, 0.2) for _ in range(4)]
    assert [process.wait(timeout=60) for process in processes] == [0] * 4
    for process in processes:
        process.communicate()
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 4


@pytest.mark.parametrize("ahead", [-1e6, 0, 1e6])
def test_a_heartbeat_is_judged_by_its_change(tmp_path: Path, quick: pytest.MonkeyPatch, ahead: float) -> None:
    """The clock of another host may be days ahead of ours, or behind it."""
    leave_note(tmp_path, "elsewhere", -ahead)
    threading.Timer(0.3, leave_note, (tmp_path, "elsewhere", -ahead - 1)).start()
    with (
        pytest.raises(BankLockedError, match=r"process 4711 on elsewhere \(last seen just now\)"),
        WriterLock(tmp_path),
    ):
        pass
    said: list[str] = []
    began = time.monotonic()
    with WriterLock(tmp_path, say=said.append):
        assert time.monotonic() - began >= 1
    assert [line.partition(",")[0].partition(" '")[0] for line in said] == [
        "watching for 1 s at most whether process 4711 on elsewhere",
        "process 4711 on elsewhere ended without releasing",
    ]


def test_who_was_taken_over_while_asleep_writes_no_more(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as to:
        leave_note(tmp_path, "elsewhere", 0)
        rows.append(to, range(3), "pooled")
        with pytest.raises(BankLockedError, match="process 4711 on elsewhere"):
            to.flush()
    assert not (tmp_path / "manifest.json").exists()
    holder = read_holder(tmp_path)
    assert holder
    assert holder["process"] == 4711, "nor does it take away the other's note"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="other rights")
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_disk_for_reading_only_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(BankReadOnlyError, match=r"is read-only \(.*choose another --cache"), WriterLock(tmp_path):
        pass
