"""Whatever the moment of death, what was finished stands, and the same command ends as it would have in peace.

The death at every single write of a clean-up, a merge and an update of the tables is in tests/bank/test_deaths.py.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from featurebank.bank import writer as limits
from featurebank.bank.catalog import bank_path
from featurebank.bank.locks.writer_lock import NOTE
from featurebank.bank.maintenance.garbage import collect, plan_gc
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.manifest import MANIFEST, load_manifest
from featurebank.errors import BankIncompleteError

pytestmark = pytest.mark.heavy

VIEWS = ("--views", 2, "--augment", "flip,rotate=20")
Process = subprocess.Popen[str]
Start = Callable[..., Process]
Ended = Callable[..., tuple[str, str]]
AllOf = Callable[..., dict[str, Any]]


def kill_at(process: Process, seconds: float, *, began: bool = False) -> bool:
    """Ends a process without warning, some seconds from now, or from its first batch on; was it still at work?"""
    assert process.stderr
    if not began or process.stderr.readline().startswith("began"):
        time.sleep(seconds)
    working = process.poll() is None
    process.kill()
    process.communicate()
    return working


# ---- extract


@pytest.mark.parametrize("times", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_an_extraction_killed_again_and_again(
    extracts: Start, ended: Ended, all_of: AllOf, tmp_path: Path, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed from its start to its last manifest; once it has come through, another bank is begun."""
    peace = json.loads(ended(extracts(*VIEWS, cache=tmp_path / "peace"))[0])
    assert peace["added"] == 24
    whole = all_of(Path(peace["bank"]))
    seen, moments = Counter[str](), random.Random(times)
    for number in range(times):
        process = extracts(*VIEWS, PAUSE=0.03, cache=tmp_path / "war")
        early = number % 4 == 3
        alive = kill_at(process, moments.uniform(0, 1.2 if early else 0.7), began=not early)
        seen["at work" if alive else "at its end"] += 1
        for path in tmp_path.glob(f"war/*/{MANIFEST}"):
            assert verify_bank(path.parent).damaged == ()
            try:
                assert all_of(path.parent) == whole
                seen["left whole"] += 1
                shutil.rmtree(tmp_path / "war")
            except BankIncompleteError:
                seen["left unfinished"] += 1
    war = json.loads(ended(extracts(*VIEWS, cache=tmp_path / "war"))[0])
    assert all_of(Path(war["bank"])) == whole
    assert not list(tmp_path.glob("war/**/.writing-*shard*"))
    assert seen["at work"] >= times // 4
    assert seen["left unfinished"] >= times // 4
    collect(Path(war["bank"]))
    assert all_of(Path(war["bank"])) == whole
    if times > 8:
        with capsys.disabled():
            sys.stdout.write(f"\nextract killed {times} times: {dict(seen)}\n")


def test_between_a_shard_and_the_manifest_that_lists_it(
    extracts: Start, ended: Ended, all_of: AllOf, tmp_path: Path
) -> None:  # fmt: skip
    peace = json.loads(ended(extracts(cache=tmp_path / "peace"))[0])
    ended(extracts(DIE=3), -signal.SIGKILL)
    (path,) = (tmp_path / "cache").glob("photos-*")
    assert len(list(path.glob("shard-*.h5"))) == len(load_manifest(path).shards) + 1
    done = json.loads(ended(extracts())[0])
    assert (done["rows"], done["added"]) == (24, 24 - 8)
    assert all_of(path) == all_of(Path(peace["bank"]))


def test_ctrl_c(child: Start, ended: Ended, tmp_path: Path) -> None:
    """The real engine: exit code 130, one line, and what was computed is not computed again."""
    digits = ["-q", "--cache", tmp_path, "extract", "--backbone", "efficientnet_lite0", "--weights", "random:0",
              "--image-size", 32, "--dataset", "digits", "--limit", 600, "--batch-size", 2, "--json"]  # fmt: skip
    process = child(*digits, rows=16)
    while not list(tmp_path.glob("digits*/shard-*.h5")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = ended(process, 130)
    assert error.strip() == "interrupted: finished work is saved; run the same command again to continue"
    (path,) = tmp_path.glob("digits*")
    kept = sum(shard.rows for shard in load_manifest(path).shards)
    again = json.loads(ended(child(*digits, rows=4096, PAUSE=0))[0])
    assert 0 < kept < again["rows"]
    assert (again["added"], again["reused"]) == (again["rows"] - kept, kept)


# ---- cache gc, cache merge


@pytest.fixture
def large(tmp_path: Path, deaths: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a bank of many shards of four rows, so that there is a long way to die on."""
    monkeypatch.setattr(limits, "SHARD_ROWS", 4)

    def make(cache: str, numbers: range, kept: range) -> Path:
        path = bank_path(tmp_path / cache, "data", deaths.RECIPE)
        deaths.fill(path, numbers, kept)
        return path

    return make


def await_writer(process: Process, path: Path) -> None:
    """Waits until a process has begun to write a bank, or has ended."""
    while not (path / NOTE).is_file() and process.poll() is None:
        time.sleep(0.001)


def work(process: Process, path: Path, ended: Ended) -> float:
    """Returns for how many seconds a process writes a bank, if nobody ends it."""
    await_writer(process, path)
    began = time.perf_counter()
    ended(process)
    return time.perf_counter() - began


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_a_clean_up_killed_at_any_moment(
    child: Start, ended: Ended, all_of: AllOf, large: Callable[..., Path], tmp_path: Path, times: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    count = 10 * times + 80
    original = large("original", range(count), range(30, count - 30, 2))  # half of each shard, and some as a whole
    expected = all_of(original)

    def fresh() -> Path:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        return Path(shutil.copytree(original, tmp_path / "cache" / original.name))

    def gc() -> Process:
        return child("-q", "--cache", tmp_path / "cache", "cache", "gc")

    path = fresh()
    seconds = work(gc(), path, ended)
    seen, moments = Counter[str](), random.Random(times)
    for _ in range(times):
        path = fresh()
        before = load_manifest(path)
        process = gc()
        await_writer(process, path)
        alive = kill_at(process, moments.uniform(0, 1) * seconds)
        state = "untouched" if load_manifest(path) == before else "half done" if plan_gc(path) else "done"
        seen[f"{state}, {'killed' if alive else 'ended'}"] += 1
        assert all_of(path) == expected
        assert verify_bank(path).damaged == ()
        ended(gc())
        assert all_of(path) == expected
        assert not plan_gc(path)
    if times > 2:
        with capsys.disabled():
            sys.stdout.write(f"\ncache gc killed {times} times: {dict(seen)}\n")


@pytest.mark.parametrize("times", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_a_merge_killed_at_any_moment(
    child: Start, ended: Ended, all_of: AllOf, large: Callable[..., Path], tmp_path: Path, times: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    half = 5 * times + 40
    one = large("one", range(half + 20), range(half + 20))
    two = large("two", range(half, 2 * half), range(half, 2 * half))
    before = [all_of(path) for path in (one, two)]
    expected = all_of(merge_banks([one, two], tmp_path / "peace"))

    def merge() -> Process:
        return child("-q", "--cache", tmp_path / "cache", "cache", "merge", one, two)

    path = tmp_path / "cache" / one.name
    seconds = work(merge(), path, ended)
    seen, moments = Counter[str](), random.Random(times)
    for _ in range(times):
        shutil.rmtree(tmp_path / "cache")
        process = merge()
        await_writer(process, path)
        kill_at(process, moments.uniform(0, 1) * seconds)
        if (path / MANIFEST).is_file():
            assert verify_bank(path).damaged == ()
            try:
                assert all_of(path) == expected
                seen["done"] += 1
            except BankIncompleteError:
                seen["unfinished"] += 1
        else:
            seen["nothing yet"] += 1
        ended(merge())
        assert all_of(path) == expected
        assert [all_of(part) for part in (one, two)] == before, "its parts stay as they are"
        collect(path)
        assert all_of(path) == expected
    if times > 2:
        with capsys.disabled():
            sys.stdout.write(f"\ncache merge killed {times} times: {dict(seen)}\n")


# ---- heads on several banks, race

HEADS = """
[[head]]
kind = "ridge"
alpha = [0.1, 1.0, 10.0, 100.0]
[[head]]
kind = "knn"
n_neighbors = [1, 3, 5, 9, 15]
[[head]]
kind = "nearest_mean"
"""


def without_times(value: Any) -> Any:
    """Returns what a command prints, without what differs from time to time."""
    if isinstance(value, dict):
        return {name: without_times(own) for name, own in value.items() if "second" not in name}
    return [without_times(own) for own in value] if isinstance(value, list) else value


@pytest.mark.slow
@pytest.mark.parametrize("command", ["heads", "race"])
def test_a_search_killed_at_any_moment(
    child: Start,
    ended: Ended,
    make_bank: Callable[..., object],
    tmp_path: Path,
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second command prints what an undisturbed one does, waits for no dead process, and trains no run twice."""
    (tmp_path / "heads.toml").write_text(HEADS)
    networks = [part for seed in (1, 2, 3) for part in ("--backbone", f"efficientnet_lite0@random:{seed}@32px")]
    words = {
        "heads": ("heads", "--bank", "all-of:made"),
        "race": ("race", "digits", "--limit", 400, *networks, "--share", 0.6),
    }

    def start(cache: str) -> Process:
        grid = ("--grid", tmp_path / "heads.toml", "--json")
        return child("--cache", tmp_path / cache, *words[command], *grid, rows=4096, PAUSE=0)

    def fresh(cache: str) -> None:
        shutil.rmtree(tmp_path / cache, ignore_errors=True)
        for number, net in enumerate(("one", "two", "three")):
            make_bank(f"{cache}/made-{net}-0", backbone=net, noise=3 + number / 4)

    def runs(cache: str) -> list[str]:
        return sorted(
            str(path.relative_to(tmp_path / cache)) for path in (tmp_path / cache).glob("*/runs/[0-9a-f]*.json")
        )

    def await_work(process: Process, cache: str) -> None:
        while not [*tmp_path.glob(f"{cache}/*/runs"), *tmp_path.glob(f"{cache}/*lite0*")] and process.poll() is None:
            time.sleep(0.001)

    fresh("peace")
    process = start("peace")
    await_work(process, "peace")
    began = time.perf_counter()
    expected = without_times(json.loads(ended(process)[0]))
    seconds = time.perf_counter() - began
    moments, seen = random.Random(1), Counter[str]()
    for _ in range(10):
        fresh("war")
        process = start("war")
        await_work(process, "war")
        alive = kill_at(process, moments.uniform(0, 1) * seconds)
        left = len(runs("war"))
        seen["killed" if alive else "ended"] += 1
        seen["half done"] += 0 < left < len(runs("peace"))
        out, error = ended(start("war"))
        assert "waiting" not in error
        assert runs("war") == runs("peace")
        text = json.dumps(without_times(json.loads(out))).replace(str(tmp_path / "war"), str(tmp_path / "peace"))
        assert json.loads(text) == expected
    with capsys.disabled():
        sys.stdout.write(f"\n{command} killed: {dict(seen)}\n")
    assert seen["killed"] >= 5
    assert seen["half done"] >= 1
