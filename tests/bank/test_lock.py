"""One writer at a time, and the dead do not count."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import filelock
import pytest

from featurebank.bank import lock
from featurebank.bank.lock import WriterLock, read_holder
from featurebank.errors import BankLockedError

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from featurebank.bank.lock import WriterLock
with WriterLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def note(path: Path, host: str, seconds_ago: float) -> None:
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
    note(tmp_path, "the dead before", 4000)
    with filelock.FileLock(tmp_path / lock.LOCK):
        threading.Timer(0.3, note, (tmp_path, "here", 0)).start()
        with pytest.raises(BankLockedError, match="process 4711 on here"), WriterLock(tmp_path):
            pass


def test_two_in_one_process(tmp_path: Path) -> None:
    with WriterLock(tmp_path), pytest.raises(BankLockedError), WriterLock(tmp_path):
        pass
    with WriterLock(tmp_path):
        pass


def test_living_writer_on_another_host(tmp_path: Path) -> None:
    note(tmp_path, "elsewhere", 30)
    with pytest.raises(BankLockedError, match=r"process 4711 on elsewhere \(heard of 30 s ago\)"), WriterLock(tmp_path):
        pass
    note(tmp_path, "elsewhere", 90)
    with WriterLock(tmp_path):
        pass


def test_heartbeat_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.02)
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
        with WriterLock(tmp_path, wait=True, tell=said.append):
            assert process.poll() is not None
    assert said[0].startswith(f"waiting: process {process.pid} on {socket.gethostname()}")
    assert len([line for line in said if line.startswith("waiting")]) == 1


def test_the_dead_are_told(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
    said: list[str] = []
    with WriterLock(tmp_path, tell=said.append):
        pass
    assert [line.partition(" ended")[0] for line in said] == [f"process {process.pid} on {socket.gethostname()}"]
    with WriterLock(tmp_path, tell=said.append):
        pass
    assert len(said) == 1, "once"
