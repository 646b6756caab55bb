"""The memory of an extraction does not grow with the number of images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PATHS = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
GROWTH = 1.1
NETWORK = ("--backbone", "efficientnet_lite0", "--weights", "random:0", "--image-size", 32)

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is measured as Linux tells it")


def save_photos(root: Path, numbers: range) -> None:
    """Small JPEG files of two classes, all different."""
    coarse = np.random.default_rng(numbers.start).integers(0, 256, (len(numbers), 4, 4, 3), dtype=np.uint8)
    for label in "ab":
        (root / label).mkdir(parents=True, exist_ok=True)
    for number, pixels in zip(numbers, coarse, strict=True):
        Image.fromarray(pixels).resize((32, 32)).save(root / "ab"[number % 2] / f"{number}.jpg", quality=90)


def peak_of(root: Path, cache: Path, taps: tuple[str, ...], *, code: str) -> tuple[int, int]:
    """Extracts a folder in a process of its own; returns the most memory it had, in bytes, and the rows it made."""
    asked = [word for tap in taps for word in ("--tap", tap)]
    arguments = ["--cache", cache, "extract", *NETWORK, "--dataset", root, *asked, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": PATHS}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return int(done.stderr.splitlines()[-1].removeprefix("peak ")) << 10, told["added"]


MEASURED = """
import atexit, re, sys
from pathlib import Path

@atexit.register
def tell():
    print("peak", re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1], file=sys.stderr)

"""
COMMAND = MEASURED + "from featurebank.cli import main; main()"


WIDE = (
    MEASURED
    + """
import numpy as np
import featurebank.bank.writer as writer
import featurebank.extraction.target as stage
from immediate import Immediate

class Wide(Immediate):
    name, precision = "wide", "float32"

    def __init__(self, taps):
        self.taps = taps

    def __call__(self, images):
        means = images.reshape(len(images), -1).mean(axis=1, keepdims=True).astype(np.float32)
        return {tap: np.repeat(means, 16384, axis=1) for tap in self.taps}

writer.SHARD_BYTES = 8 << 20
stage.load_engine = lambda name, backbone, taps, **options: Wide(taps)
from featurebank.cli import main; main()
"""
)


def test_features_do_not_stay_in_memory(tmp_path: Path) -> None:
    """An engine whose rows are 64 kB wide, and shards of 8 MB: 256 images make 16 MB, 1280 make 80."""
    peaks = []
    for first, count in ((0, 256), (256, 1280)):
        save_photos(tmp_path / "photos", range(first, count))
        peak, added = peak_of(tmp_path / "photos", tmp_path / f"cache{count}", ("pooled",), code=WIDE)
        assert added == count
        peaks.append(peak)
    assert peaks[1] < GROWTH * peaks[0], peaks


@pytest.mark.slow
def test_sixteen_times_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The real engine, two taps; shards are of 4096 rows, so that the first run does not fill one, and the last six."""
    counts = (1500, 6000, 24_000)
    peaks = []
    for first, count in zip((0, *counts), counts, strict=False):
        save_photos(tmp_path / "photos", range(first, count))
        peak, added = peak_of(tmp_path / "photos", tmp_path / f"cache{count}", ("pooled", "map"), code=COMMAND)
        assert added == count
        peaks.append(peak)
    with capsys.disabled():
        told = ", ".join(f"{count:,} images {peak / 1e6:.0f} MB" for count, peak in zip(counts, peaks, strict=True))
        sys.stdout.write(f"\npeak memory of extract: {told}\n")
    assert max(peaks) < GROWTH * peaks[0]
