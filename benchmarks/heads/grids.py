"""How long do the built-in grids take, and in how much memory? Each runs as a user runs it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Contest
from benchmarks.heads.made import made_bank


def contests(directory: Path, *, quick: bool) -> list[Contest]:
    """Runs the grids, once each, and returns their figures."""
    sizes = [(600, 256, 5, "default")] if quick else [
        (3000, 2048, 5, "default"), (3000, 2048, 5, "wide"), (50_000, 1280, 10, "default"),
    ]  # fmt: skip
    return [_contest(directory, *size) for size in sizes]


def _contest(directory: Path, images: int, features: int, classes: int, grid: str) -> Contest:
    bank = directory / f"bank-{images}-{features}-{classes}-{grid}"
    made_bank(bank, images, features, classes)
    words = ["featurebank", "--cache", str(directory), "-q", "heads", "--bank", str(bank), "--grid", grid, "--json"]
    output = directory / "runs.json"

    def act() -> int:
        with output.open("w") as file:
            child = subprocess.Popen([sys.executable, "-m", *words], stdout=file)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            message = f"the grid {grid} failed"
            raise RuntimeError(message)
        return int(usage.ru_maxrss)

    contest = Contest(f"grid {grid} on {images} x {features}, {classes} classes", 1, "grids", "featurebank heads")
    peak = contest.time("featurebank heads", act)
    runs = json.loads(output.read_text(encoding="utf-8"))["runs"]
    best = runs[0]["metrics"]["val"]["accuracy"]
    contest.notes["featurebank heads"] = f"{len(runs)} runs, peak {peak / 1e6:.2f} GB, best validation {best:.4f}"
    return contest
