"""How long is the plain script of a scikit-learn user beside one with featurebank, and which of them is faster?

Both begin with a folder of photos and end with a table of all candidates and a confusion matrix: EfficientNet-Lite0
with ImageNet weights, 12 candidates in 5 folds, and a multi-layer perceptron. `benchmarks/plain_script.py` is what a
user writes with Keras and scikit-learn, `benchmarks/plain_featurebank.py` the same with featurebank. Each runs in a
process of its own, from an empty cache, so that imports and the preparation of the network count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import Contest, conditions, report
from benchmarks.pictures import photo_folder

HERE = Path(__file__).resolve().parent
SCRIPTS = {"Keras and scikit-learn": "plain_script.py", "featurebank": "plain_featurebank.py"}


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Runs both scripts in turn."""
    lines = {name: lines_of(HERE / script) for name, script in SCRIPTS.items()}
    shown: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = photo_folder(Path(place) / "photos", 60 if quick else 500, photos)
        count = sum(1 for _ in folder.glob("*/*"))
        contest = Contest("from photos to a table and a confusion matrix", count, "images", "Keras and scikit-learn")
        for number in range(rounds):
            for name, script in SCRIPTS.items():
                environment = {
                    **os.environ,
                    "FEATUREBANK_CACHE": f"{place}/cache{number}",
                    "PYTHONPATH": str(HERE.parent),
                }
                start = partial(
                    subprocess.run, [sys.executable, str(HERE / script), str(folder)], env=environment,
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                done = contest.time(name, start, note=f"{lines[name]} lines")
                if done.returncode:
                    raise RuntimeError(done.stderr[-2000:])
                shown[name] = done.stdout
    for name, text in shown.items():
        print(f"== {name}\n{text}")
    report([contest], conditions(), output, {"rounds": rounds, "lines": lines})


def lines_of(script: Path) -> int:
    """Returns the number of lines of code, without comments, docstring and empty lines."""
    code = script.read_text(encoding="utf-8").split('"""', 2)[2]
    return sum(1 for line in code.splitlines() if line.strip() and not line.strip().startswith("#"))
