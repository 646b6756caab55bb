"""A thread that appends: all rows, in order, and no failure or impatience gets lost."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank.bank.background import BackgroundWriter
from featurebank.bank.manifest import load_manifest
from featurebank.bank.reader import Bank
from featurebank.bank.shard import map_tap, read_keys
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import FeatureRangeError

DTYPES = {"pooled": None}


def put(to: BackgroundWriter, rows: SimpleNamespace, n: int) -> None:
    to.put([str(n)], row_keys(rows.digests([n])), {"pooled": rows.features([n])}, DTYPES)


def test_all_rows_in_order(tmp_path: Path, rows: SimpleNamespace) -> None:
    with rows.writer(tmp_path) as writer:
        with BackgroundWriter(writer) as to:
            for n in range(50):
                put(to, rows, n)
        writer.flush()
        assert writer.stored("pooled").tolist() == rows.digests(range(50)).tolist()


def test_rows_put_before_an_exception_are_kept(tmp_path: Path, rows: SimpleNamespace) -> None:
    def interrupted(writer: BankWriter) -> None:
        with BackgroundWriter(writer) as to:
            for n in range(6):
                put(to, rows, n)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), rows.writer(tmp_path) as writer:
        interrupted(writer)
    assert sum(shard.rows for shard in load_manifest(tmp_path).shards) == 6


def test_failure_reaches_the_caller_and_earlier_rows_are_kept(tmp_path: Path, rows: SimpleNamespace) -> None:
    def failing(writer: BankWriter) -> None:
        with BackgroundWriter(writer) as to:
            for n in range(100):
                block = rows.features([n]) * (np.nan if n == 3 else 1)
                to.put([str(n)], row_keys(rows.digests([n])), {"pooled": block}, DTYPES)

    with rows.writer(tmp_path) as writer, pytest.raises(FeatureRangeError, match="image '3'"):
        failing(writer)
    assert sum(shard.rows for shard in load_manifest(tmp_path).shards) == 3


class HeldWriter(BankWriter):
    """A disk that is at its second batch, and then at its third, until Ctrl-C has been pressed."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.batches = 0
        self.begun, self.pressed = threading.Semaphore(0), threading.Semaphore(0)

    def append(self, *arguments: object) -> None:
        self.batches += 1
        if self.batches in {2, 3}:
            self.begun.release()
            assert self.pressed.acquire(timeout=60)
        super().append(*arguments)  # type: ignore[arg-type]


def test_impatient_user(tmp_path: Path, rows: SimpleNamespace) -> None:
    """Ctrl-C again and again, also while the rest is being written: no hanging thread, every row under its own key."""
    writer = HeldWriter(tmp_path, rows.recipe, rows.dataset)

    def heard(number: int, frame: object) -> None:
        writer.pressed.release()
        raise KeyboardInterrupt

    several = threading.Event()

    def press() -> None:
        assert several.wait(timeout=60)
        for _ in range(2):
            assert writer.begun.acquire(timeout=60)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def extract() -> None:
        with writer, BackgroundWriter(writer) as to:
            fingers.start()
            for n in range(1000):
                put(to, rows, n)
                if n == 3:  # the third batch waits while the second is written
                    several.set()

    fingers = threading.Thread(target=press)
    alive: list[str] = []

    def extract_to_the_end() -> None:
        try:
            extract()
        finally:
            alive.extend(t.name for t in threading.enumerate() if t.name == "featurebank-writer")
            fingers.join()

    before = signal.signal(signal.SIGINT, heard)
    try:
        with pytest.raises(KeyboardInterrupt):
            extract_to_the_end()
    finally:
        signal.signal(signal.SIGINT, before)
    assert alive == [], "the bank was let go while a thread still wrote it"
    (shard,) = load_manifest(tmp_path).shards
    count = len(read_keys(tmp_path, shard))
    assert 0 < count < 10
    assert read_keys(tmp_path, shard)["digest"].tolist() == rows.digests(range(count)).tolist()
    assert np.array_equal(map_tap(tmp_path, shard, "pooled"), rows.features(range(count)))
    with rows.writer(tmp_path) as again:
        rows.append(again, range(count, 12), "pooled")
        again.finish(rows.items(range(12)), ["pooled"], [], None)
    assert np.array_equal(Bank(tmp_path).features(), rows.features(range(12)))
