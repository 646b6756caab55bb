"""Batches are cut into requests and put together again, whatever the order in which these end; nothing hangs."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import ended

from featurebank.engine.pool import PooledEngine, request_size
from featurebank.errors import EngineError
from tests.conftest import ROOT

pytestmark = pytest.mark.heavy

ENDING = """
import sys, threading, time
import numpy as np
from featurebank.engine.pool import PooledEngine
def run(images):
    time.sleep(0.05)
    return {"a": images}
engine = PooledEngine([run, run], request=1, batch_size=8, image_size=1)
futures = [engine.submit(np.zeros((8, 1, 1, 3), np.uint8)) for _ in range(1000)]
print("ready", flush=True)
if sys.argv[1] == "wait":
    futures[-1].result()
"""


def mean(images: np.ndarray) -> Mapping[str, np.ndarray]:
    return {"mean": images.mean(axis=(1, 2, 3))[:, np.newaxis], "all": images}


def numbered(first: int, count: int) -> np.ndarray:
    return np.repeat(np.arange(first, first + count, dtype=np.uint8), 12).reshape(count, 2, 2, 3)


@given(st.integers(1, 1024), st.integers(1, 512), st.integers(1, 64))
def test_requests_are_equal_and_small(size: int, batch: int, most: int) -> None:
    request = request_size(size, batch, most=most)
    requests = -(-batch // request)
    assert 1 <= request <= batch
    assert requests * request - batch < requests, "some request would be mostly empty"
    assert request == 1 or request * size**2 <= 1.5 * most * 224**2


def test_request_sizes_that_were_measured() -> None:
    assert [request_size(size, 32, most=4) for size in (224, 96, 32, 600)] == [4, 16, 32, 1]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=20), st.integers(1, 7), st.integers(1, 4))
def test_every_row_comes_back_in_its_place(counts: list[int], request: int, threads: int) -> None:
    engine = PooledEngine([mean] * threads, request=request, batch_size=7, image_size=2)
    starts = np.cumsum([0, *counts])[:-1] % 200
    futures = [engine.submit(numbered(int(start), count)) for start, count in zip(starts, counts, strict=True)]
    for start, count, future in zip(starts, counts, futures, strict=True):
        found = future.result(timeout=60)
        assert found["mean"].shape == (count, 1)
        assert found["mean"].dtype == found["all"].dtype == np.float32
        assert found["mean"][:, 0].tolist() == list(range(start, start + count))
        assert np.array_equal(found["all"], numbered(int(start), count))
    engine.close()


def test_depth_keeps_every_thread_at_work() -> None:
    assert PooledEngine([mean] * 3, request=4, batch_size=32, image_size=2).depth == 2
    assert PooledEngine([mean] * 3, request=4, batch_size=4, image_size=2).depth == 4


def test_a_failure_reaches_its_own_batch_alone() -> None:
    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        if images.max() == 9:
            raise EngineError("nine")
        return mean(images)

    engine = PooledEngine([run, run], request=2, batch_size=6, image_size=2)
    futures = [engine.submit(numbered(first, 6)) for first in (0, 6, 12)]
    with pytest.raises(EngineError, match="nine"):
        futures[1].result(timeout=60)
    assert [len(futures[place].result(timeout=60)["mean"]) for place in (0, 2)] == [6, 6]
    engine.close()


def test_a_cancelled_batch_is_not_computed() -> None:
    go, seen = threading.Event(), []

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        go.wait(60)
        seen.append(int(images[0, 0, 0, 0]))
        return mean(images)

    engine = PooledEngine([run], request=2, batch_size=2, image_size=2)
    first, second, third = (engine.submit(numbered(start, 2)) for start in (0, 2, 4))
    assert second.cancel()
    go.set()
    assert len(third.result(timeout=60)["mean"]) == len(first.result(timeout=60)["mean"]) == 2
    assert seen == [0, 4]
    engine.close()


def test_threads_end_with_the_engine() -> None:
    gc.collect()
    before = threading.active_count()
    engine = PooledEngine([mean, mean], request=2, batch_size=6, image_size=2)
    engine(numbered(0, 6))
    assert threading.active_count() == before + 2
    del engine
    gc.collect()
    assert threading.active_count() == before


@pytest.mark.parametrize("ending", ["end", "wait"])
def test_a_process_ends_at_once(ending: str) -> None:
    """At its end, and by Ctrl-C: 200 s of work are waiting."""
    process = subprocess.Popen([sys.executable, "-c", ENDING, ending], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    with ended(process):
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        if ending == "wait":
            process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == (0 if ending == "end" else -signal.SIGINT)
    assert ("KeyboardInterrupt" in error) == (ending == "wait")


def test_closing_waits_for_what_is_being_computed() -> None:
    began = threading.Event()

    def run(images: np.ndarray) -> Mapping[str, np.ndarray]:
        began.set()
        time.sleep(0.05)
        return mean(images)

    engine = PooledEngine([run], request=2, batch_size=2, image_size=2)
    first, second = engine.submit(numbered(0, 2)), engine.submit(numbered(2, 2))
    began.wait(60)
    engine.close()
    assert len(first.result(timeout=0)["mean"]) == 2
    assert second.cancelled()
