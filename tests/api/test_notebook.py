"""A real kernel: cells run again without work, and an interrupted or killed kernel loses and locks nothing."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from forks import run
from kernels import environment, kernel

pytestmark = pytest.mark.heavy

SETUP = """
import contextlib, time, warnings
import numpy as np
import featurebank as fb
import featurebank.bank.writer as writer, featurebank.extraction.target as target
from featurebank.system.progress import Reporter
from immediate import Immediate

writer.SHARD_ROWS = 2
warnings.simplefilter("ignore", fb.FeatureBankWarning)

class Pixels(Immediate):
    name, precision, taps = "pixels", "float32", ("pooled",)
    pause = 0.0
    images = 0
    def __call__(self, images):
        time.sleep(self.pause)
        Pixels.images += len(images)
        print(f"computed {Pixels.images}", flush=True)
        return {"pooled": images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255}

target.load_engine = lambda *args, **options: Pixels()
random = np.random.default_rng(0)
network = fb.load_backbone("efficientnet_lite0", weights="random:0", image_size=32)
dataset = fb.load_dataset("photos")
grid = [{"kind": kind} for kind in ("nearest_mean", "ridge", "lda", "knn", "svm")]

class Slow(Reporter):
    @contextlib.contextmanager
    def track(self, what, total, unit):
        def advance(count):
            print("trained", flush=True)
            time.sleep(0.3)
        yield advance
    def say(self, line):
        print(line)
"""
EXTRACT = "bank = fb.extract(dataset, network, batch_size=2); print(len(bank), 'rows')"
TRAIN = "runs = fb.train_heads(bank, grid, reporter=Slow()); print(len(runs), 'runs')"


def interrupt(manager: Any) -> None:
    manager.interrupt_kernel()


def kill(manager: Any) -> None:
    manager.signal_kernel(signal.SIGKILL)
    manager.provisioner.process.wait()


def other_process(place: Path, code: str) -> str:
    done = run([sys.executable, "-c", SETUP + code], cwd=place, env=environment(place), timeout=120)
    return done.stdout + done.stderr


def test_interrupted_and_killed_kernels_lose_and_lock_nothing(photos: Path) -> None:
    place = photos.parent
    with kernel(place) as notebook:
        assert notebook.run(SETUP) == ""
        notebook.run("Pixels.pause = 0.2")
        first = notebook.run(EXTRACT, at="computed 6", then=interrupt)
        assert first.endswith("KeyboardInterrupt: \n")
        notebook.run("Pixels.pause = 0.0; before = Pixels.images")
        again = notebook.run(EXTRACT + "; print(Pixels.images - before, 'computed now')")
        assert "24 rows" in again
        assert int(again.splitlines()[-1].split()[0]) < 24, "the rows before the interruption were kept"
        assert notebook.run(EXTRACT) == "24 rows\n", "a cell that runs again computes nothing"

        stopped = notebook.run(TRAIN, at="trained", then=interrupt)
        assert stopped.endswith("KeyboardInterrupt: \n")
        assert "5 runs" in other_process(place, EXTRACT + "\n" + TRAIN)
        assert "5 runs: 5 trained before, 0 to train" in notebook.run(TRAIN), "the other process has trained the others"

        notebook.run("import featurebank as fb; dataset = fb.load_dataset('photos', limit=20); Pixels.pause = 0.2")
        notebook.run("network = fb.load_backbone('efficientnet_lite0', weights='random:1', image_size=32)")
        notebook.run(EXTRACT, at="computed", then=kill)
    after = "network = fb.load_backbone('efficientnet_lite0', weights='random:1', image_size=32)\n"
    assert "24 rows" in other_process(place, after + EXTRACT)
