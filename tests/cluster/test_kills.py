"""Workers, schedulers and clients that are killed during an extraction: the same command goes on, to the same bank."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from forks import Fork
from processes import ended, wait_until_gone

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.cluster.extraction import extract_banks
from featurebank.errors import ClusterError
from featurebank.extraction import Extraction, ExtractOptions
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy


@pytest.fixture
def start(photos: Path, lite: Backbone, tmp_path: Path, site: Path) -> Callable[..., Extraction]:
    def run(address: str, reporter: Reporter | None = None) -> Extraction:
        (result,) = extract_banks(
            fb.load_dataset(str(photos)), [lite], ExtractOptions(batch_size=4, cluster=address),
            cache=tmp_path / "cache", reporter=reporter or Reporter(),
        )  # fmt: skip
        return result

    return run


@pytest.fixture
def dask(tmp_path: Path, site: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts schedulers and workers as a user does; workers have scratch folders of their own, and no nanny."""
    with contextlib.ExitStack() as stack:

        def begin(*words: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "dask", *map(str, words), "--no-dashboard"]
            log = stack.enter_context((tmp_path / "dask.log").open("a"))
            process = Fork(command, stdout=log, stderr=log, text=True, cwd=tmp_path)
            return stack.enter_context(ended(process))

        yield begin


class Killer(Reporter):
    """Kills a process after each of the first slices."""

    def __init__(self, *processes: subprocess.Popen[str]) -> None:
        self.left = list(processes)

    def track(self, what: str, total: int, unit: str) -> Any:
        def advance(count: int) -> None:
            if what == "extract" and self.left:
                process = self.left.pop(0)
                process.kill()
                process.wait()

        return contextlib.nullcontext(advance)


def test_a_worker_and_then_the_scheduler_are_gone_for_good(
    start: Callable[..., Extraction], dask: Callable[..., subprocess.Popen[str]], single: Bank, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("featurebank.extraction.pieces.slices._LEAST_IMAGES", 1)
    monkeypatch.setattr("featurebank.cluster.dispatch.BATCH_S", 0.0)  # each task is a slice of one image
    file = tmp_path / "scheduler.json"
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", 0, "--scheduler-file", file)
    workers = [
        dask("worker", "--scheduler-file", file, "--no-nanny", "--nthreads", 1, "--local-directory", tmp_path / name)
        for name in ("one", "two")
    ]
    address = wait_for_address(file)
    with pytest.raises(ClusterError, match=f"^the Dask scheduler at {address} is gone: finished work is saved; start"):
        start(address, Killer(workers[0], scheduler))
    result = start("local:1")
    assert 0 < result.reused < 24
    assert result.bank.ids() == single.ids()
    assert result.bank.features("pooled").tobytes() == single.features("pooled").tobytes()


def wait_for_address(file: Path) -> str:
    import json

    while True:
        with contextlib.suppress(OSError, ValueError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.01)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_client_that_ends_leaves_no_worker_and_loses_nothing(
    end: signal.Signals, start: Callable[..., Extraction], photos: Path, single: Bank, site: Path, tmp_path: Path
) -> None:
    (site / "hold").write_text("8")  # the worker waits after the probe and the first slices
    cache = tmp_path / "cache"
    command = [
        sys.executable, "-m", "featurebank", "--cache", cache, "extract", photos, "--backbone", "efficientnet_lite0",
        "--weights", "random:0", "--image-size", 32, "--batch-size", 4, "--cluster", "local:1",
    ]  # fmt: skip
    process = Fork([*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    with ended(process):
        while not list(cache.glob("*/.pieces/[0-9a-f]*.json")):  # the notes of finished pieces
            time.sleep(0.01)
            assert process.poll() is None
        workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        began = time.monotonic()
        process.send_signal(end)
        assert process.stderr
        errors, code = process.stderr.read(), process.wait(timeout=20)
        wait_until_gone(workers)
    assert workers
    if end == signal.SIGINT:
        assert (code, "Traceback" in errors) == (130, False)
        assert "interrupted: finished work is saved" in errors
        assert time.monotonic() - began < 10
    (site / "hold").unlink()
    result = start("local:1")
    assert result.reused >= 4
    assert result.bank.features("pooled").tobytes() == single.features("pooled").tobytes()
