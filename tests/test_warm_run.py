"""A second run over 60,000 files that have not changed is a matter of a second, and loads no network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CLASSES, EACH = 10, 6000

WATCHED = """
import atexit, sys
heavy = {"tensorflow", "keras", "sklearn"}
atexit.register(lambda: print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr))
from featurebank.cli import main
main()
"""


def make_class(folder: Path, seed: int) -> None:
    """Small photos as those of CIFAR-10: 32 x 32, smooth, all different."""
    folder.mkdir(parents=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (EACH, 4, 4, 3), dtype=np.uint8)
    for number, image in enumerate(coarse):
        Image.fromarray(image).resize((32, 32)).save(folder / f"{number}.jpg", quality=90)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    root = tmp_path / "many"
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(make_class, [root / f"class{number}" for number in range(CLASSES)], range(CLASSES)))
    return root


def timed(arguments: list[str]) -> tuple[dict[str, Any], float]:
    """Runs the command line in a process of its own; returns its answer and the seconds of the whole process."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].split() == ["loaded:"]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer, seconds


@pytest.mark.slow
def test_sixty_thousand_unchanged_files(
    many: Path, tmp_path: Path, child: Callable[..., subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    network = ["--backbone", "efficientnet_lite0", "--weights", "random:0", "--image-size", "32"]
    arguments = ["--cache", str(tmp_path / "cache"), "extract", *network, "--dataset", str(many), "--json"]
    time.sleep(2.1)  # so that the last photo is settled when it is read
    began = time.perf_counter()
    process = child(*arguments, rows=4096, PAUSE=0)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert json.loads(output)["added"] == CLASSES * EACH
    figures = {"cold": time.perf_counter() - began}

    answer, figures["warm"] = timed(arguments)
    assert (answer["added"], answer["reused"]) == (0, CLASSES * EACH)
    for path in many.rglob("*.jpg"):
        os.utime(path)
    answer, figures["touched"] = timed(arguments)
    assert (answer["added"], answer["reused"]) == (0, CLASSES * EACH)
    with capsys.disabled():
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items())
        sys.stdout.write(f"\n60,000 files: {told}\n")
    assert figures["warm"] < 5
