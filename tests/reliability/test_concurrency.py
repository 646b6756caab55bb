"""Any number of readers, one writer at a time: nobody sees half of a change, nothing is done twice, the dead let go."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from forks import Fork

from featurebank import find_bank, load_backbone, load_dataset
from featurebank.bank.locks.writer_lock import NOTE, WriterLock
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.errors import BankLockedError
from featurebank.extraction import ExtractOptions, locate
from featurebank.system.files import write_json

pytestmark = pytest.mark.heavy

HOST = socket.gethostname()
Process = subprocess.Popen[str]
Start = Callable[..., Process]


def await_line(process: Process, beginning: str) -> str:
    """Reads what a process tells until a line begins like this."""
    assert process.stderr
    for line in process.stderr:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"it ended with {process.wait()} and never said {beginning!r}")


# ---- writers


def test_of_four_at_once_one_works_and_the_others_say_who(
    extracts: Start, ended: Callable[..., tuple[str, str]], all_of: Callable[..., Any], tmp_path: Path
) -> None:
    let_go = tmp_path / "let go"
    processes = [extracts(HOLD=let_go) for _ in range(4)]
    deadline = time.monotonic() + 100
    while sum(process.poll() is not None for process in processes) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (winner,) = (process for process in processes if process.poll() is None)
    for process in set(processes) - {winner}:
        _, error = ended(process, 1)
        assert error.startswith(f"Error: process {winner.pid} on {HOST} (last seen "), error
        assert error.count("\n") == 1
    let_go.touch()
    done = json.loads(ended(winner)[0])
    assert (done["rows"], done["added"]) == (24, 24)
    peace = json.loads(ended(extracts(cache=tmp_path / "peace"))[0])
    assert all_of(Path(done["bank"])) == all_of(Path(peace["bank"]))


def test_four_that_wait_do_the_work_once(
    extracts: Start, ended: Callable[..., tuple[str, str]], all_of: Callable[..., Any], tmp_path: Path
) -> None:
    let_go, count = tmp_path / "let go", tmp_path / "count"
    environment = {"HOLD": let_go, "COUNT": count}
    first = extracts("--wait", quiet=False, **environment)
    await_line(first, "began")
    others = [extracts("--wait", quiet=False, **environment) for _ in range(3)]
    for process in others:
        assert f"waiting: process {first.pid} on {HOST}" in await_line(process, "waiting")
    let_go.touch()
    done = [json.loads(ended(process)[0]) for process in (first, *others)]
    assert [(one["added"], one["reused"]) for one in done] == [(24, 0), (0, 24), (0, 24), (0, 24)]
    images = count.read_text().split()
    assert len(images) == len(set(images)) == 24, "each image once, in all processes together"
    peace = json.loads(ended(extracts(cache=tmp_path / "peace"))[0])
    assert all_of(Path(done[0]["bank"])) == all_of(Path(peace["bank"]))


@pytest.mark.parametrize("turned", [False, True])
def test_two_with_several_banks_never_wait_for_each_other(
    extracts: Start, ended: Callable[..., tuple[str, str]], photos: Path, tmp_path: Path, turned: bool
) -> None:
    """Whoever waits for one bank does not hold another that somebody may wait for meanwhile."""
    names = ["efficientnet_lite0", "mobilenet"]
    networks = [load_backbone(name, weights="random:0", image_size=32) for name in names]
    first, second = sorted(
        locate(load_dataset(str(photos)), network, ExtractOptions(), tmp_path / "cache") for network in networks
    )
    order = names[::-1] if turned else names
    with WriterLock(first):
        process = extracts("--wait", "--backbone", order[1], quiet=False, backbone=order[0])
        await_line(process, "waiting")
        with WriterLock(second):
            pass
    assert [one["added"] for one in json.loads(ended(process)[0])["extractions"]] == [24, 24]


def test_a_reader_beside_a_writer_and_the_end_of_the_writer(
    extracts: Start, ended: Callable[..., tuple[str, str]], all_of: Callable[..., Any], photos: Path, photo: Any,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = Path(json.loads(ended(extracts())[0])["bank"])
    before = all_of(path)
    for number in range(300, 310):
        photo(photos / "ant" / f"{number}.png", number)
    process = extracts(HOLD=tmp_path / "never")
    await_line(process, "began")
    with pytest.raises(BankLockedError, match=f"process {process.pid} on"), WriterLock(path):
        pass
    assert all_of(find_bank(tmp_path / "cache")) == before
    process.kill()
    process.communicate()
    assert all_of(path) == before
    out, told = ended(extracts(quiet=False))
    assert f"process {process.pid} on {HOST} ended without releasing" in told
    assert json.loads(out)["added"] == 10
    assert "ended without" not in ended(extracts(quiet=False))[1], "told once"


@contextlib.contextmanager
def note_of_another_host(path: Path, *, ahead: float, beats: bool) -> Iterator[None]:
    """Leaves a note whose date is so many seconds ahead of ours, and which changes for a while, or never."""
    ended = threading.Event()

    def write() -> None:
        beat = 0
        while beat == 0 or (beats and not ended.wait(0.1)):
            value = {"host": "elsewhere", "process": 4711, "heartbeat": time.time() + ahead + beat}
            write_json(path / NOTE, value)
            beat += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("ahead", [-1e6, 1e6])
def test_the_note_of_another_host(extracts: Start, ended: Callable[..., tuple[str, str]], ahead: float) -> None:
    """Locks that do not reach other hosts, whose clocks are days off: what changes is alive, what stays is dead."""
    path = Path(json.loads(ended(extracts())[0])["bank"])
    with note_of_another_host(path, ahead=ahead, beats=True):
        _, error = ended(extracts(), 1)
        assert error.startswith("Error: process 4711 on elsewhere (last seen just now) writes the bank")
        assert error.count("\n") == 1
        process = extracts("--wait", quiet=False, DEAD_AFTER=1)
        waiting = await_line(process, "waiting: process 4711 on elsewhere")
    told = waiting + ended(process)[1]
    assert "process 4711 on elsewhere ended without releasing" in told


# ---- readers


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """A place where a sync costs nothing, so that more happens in a second."""
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK):
        with tempfile.TemporaryDirectory(dir=shared) as place:
            yield Path(place)
    else:
        yield tmp_path


@pytest.mark.parametrize("seconds", [3, pytest.param(120, marks=pytest.mark.slow)])
def test_readers_see_one_state_or_another(fast_disk: Path, seconds: int, capsys: pytest.CaptureFixture[str]) -> None:
    """See states.py: images come and go, labels change, a clean-up rewrites shards, while readers look."""

    def role(name: str, end: float) -> Process:
        arguments = [
            sys.executable,
            str(Path(__file__).with_name("states.py")),
            name,
            str(fast_disk / "bank"),
            str(end),
        ]
        return Fork(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    writer = role("write", time.time() + seconds + 2)
    deadline = time.monotonic() + 60
    while not (fast_disk / "bank" / "manifest.json").is_file() or not list(fast_disk.glob("bank/items-*")):
        assert writer.poll() is None, writer.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    readers = {name: role(name, time.time() + seconds) for name in ("read", "share")}
    done = {}
    for name, process in {**readers, "write": writer}.items():
        out, error = process.communicate(timeout=seconds + 60)
        assert process.returncode == 0, error
        done[name] = json.loads(out)
    assert done["write"]["states"] > 1
    assert done["write"]["rewritten shards"] > 0
    assert done["read"]["opened"] > 1
    assert done["read"]["read"] > done["read"]["opened"] / 2, "what has just been opened can nearly always be read"
    assert done["share"]["read"] > 1
    assert verify_bank(fast_disk / "bank").damaged == ()
    if seconds > 60:
        with capsys.disabled():
            sys.stdout.write(f"\nreaders beside a writer, {seconds} s: {done}\n")
