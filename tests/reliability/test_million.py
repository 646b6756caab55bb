"""A million rows: a bank that opens at once, and is read in little memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featurebank.bank.items import Items
from featurebank.bank.writer import SHARD_ROWS, BankWriter, row_keys

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1280

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured as Linux tells it")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "bank"
    shutil.rmtree(tmp_path / "bank", ignore_errors=True)


def make_bank(path: Path, count: int, width: int) -> float:
    """Writes rows as an extraction does: in the order of their digests, in shards; returns the seconds it took.

    The first two features of a row are its number, the others are noise; its label is the last digit of the number.
    """
    random = np.random.default_rng(0)
    words = np.unique(random.integers(0, 1 << 63, count + 1000))[:count]
    digests = np.char.add(np.array([f"{word:016x}" for word in words.tolist()], "S16"), b"0" * 16).astype("S32")
    noise = random.normal(size=(SHARD_ROWS, width)).astype(np.float32)
    began = time.perf_counter()
    dataset = {"name": "data", "spec": "made", "classes": [str(n) for n in range(10)], "fractions": [1], "seed": 0}
    with BankWriter(path, {"backbone": "none"}, dataset) as to:
        for start in range(0, count, SHARD_ROWS):
            numbers = np.arange(start, min(start + SHARD_ROWS, count))
            block = noise[: len(numbers)].copy()
            block[:, 0], block[:, 1] = numbers // 1024, numbers % 1024
            to.append([""] * len(numbers), row_keys(digests[numbers]), {"pooled": block}, {"pooled": None})
        everything = np.arange(count)
        ids = [f"class{number % 10}/image{number:07d}.jpg" for number in range(count)]
        splits = (everything % 7 == 0).astype(np.uint8)
        to.finish(Items(ids, digests, (everything % 10).astype(np.int32), splits), ["pooled"], [], None)
    return time.perf_counter() - began


def look(path: Path) -> dict[str, float]:
    """Opens a bank and reads all of it in a process of its own; see million.py."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("million.py")), str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.slow
def test_a_million_rows(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = 10**6 * WIDTH * 4
    if shutil.disk_usage(place.parent).free < 1.3 * size:
        pytest.skip(f"a million rows take {size / 1e9:.1f} GB, there is less room at '{place.parent}'")
    written = make_bank(place, 10**6, WIDTH)
    figures = look(place)
    names = ("open_cold", "open_warm", "first_rows", "similar_cold", "similar_warm", "pass")
    told = ", ".join(f"{name} {figures[name]:.2f} s" for name in names)
    memory = (
        f"peak memory {figures['peak'] / 1e6:.0f} MB, {figures['base'] / 1e6:.0f} MB of it before, "
        f"{figures['similar_peak'] / 1e6:.0f} MB with the search"
    )
    with capsys.disabled():
        sys.stdout.write(f"\n1,000,000 x {WIDTH} float32: written in {written:.0f} s, {told}, {memory}\n")
    assert figures["rows"] == 10**6
    assert figures["open_warm"] < 1
    assert figures["similar_peak"] < 5e8
    assert figures["peak"] < 1e9


def test_thirty_thousand_rows(place: Path) -> None:
    """The same in small, in every run of the tests."""
    make_bank(place, 30_000, 64)
    figures = look(place)
    assert figures["rows"] == 30_000
    assert figures["open_warm"] < 1
