"""What tests of grids share: cheap heads, a listening reporter, processes that train and die."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from forks import Fork, run

from featurebank.backbone import Backbone, recorded_source
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.system import digest
from featurebank.system.sealed_json import read_sealed

ROOT = Path(__file__).resolve().parents[2]

FAST: list[dict[str, Any]] = [
    {"kind": "knn", "n_neighbors": 1},
    {"kind": "knn", "n_neighbors": 5},
    {"kind": "ridge"},
    {"kind": "nearest_mean"},
    {"kind": "logistic"},
]
"""Needs no TensorFlow."""


def save_features(path: Path, backbone: Backbone, features: dict[str, np.ndarray]) -> Bank:
    """A bank as a backbone's, with these features: two thirds train, the rest validation, three classes in turn."""
    count = len(next(iter(features.values())))
    ids = [f"{n}.png" for n in range(count)]
    digests = np.array([digest.of_recipe(name) for name in ids], "S32")
    dataset = {"name": "made", "classes": ["a", "b", "c"]}
    recipe = {**backbone.recipe, "precision": "float32"}
    with BankWriter(path, recipe, dataset, source=recorded_source(backbone)) as writer:
        writer.append(ids, row_keys(digests), features, dict.fromkeys(features, "float32"))
        numbers = np.arange(count)
        items = Items(ids, digests, (numbers % 3).astype(np.int32), (numbers >= 2 * count // 3).astype(np.uint8))
        writer.finish(items, tuple(features), (), None)
    return Bank(path)


def records(bank: Bank) -> dict[str, dict[str, Any]]:
    """The records of a bank's runs; a killed process may have left half of one, whose name begins with a dot."""
    return {path.stem: read_sealed(path) for path in (bank.path / "runs").glob("[!.]*.json")}


def kept(bank: Bank) -> set[str]:
    """The runs whose weights a bank keeps; as `records`, without what a killed process has left."""
    return {path.stem for path in (bank.path / "runs").glob("[!.]*.head")}


CHILD = """
import contextlib, os, signal, sys
from pathlib import Path
from featurebank.bank import Bank
from featurebank import train_heads
from featurebank.system.progress import Reporter
from featurebank import set_threads

class Deadly(Reporter):
    @contextlib.contextmanager
    def track(self, what, total, unit):
        done = 0
        def advance(count):
            nonlocal done
            done += count
            if done == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
        yield advance

set_threads(1)
train_heads(Bank(Path(sys.argv[1])), eval(sys.argv[3]), reporter=Deadly())
print("tensorflow" in sys.modules, "keras" in sys.modules)
"""


def run_child(bank: Bank, dies_after: int, grid: Any) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-c", CHILD, str(bank.path), str(dies_after), repr(grid)], timeout=120)


PARTNER = """
import json, os, sys, time
from pathlib import Path
from featurebank.bank import Bank
from featurebank import train_heads
from featurebank.grid import journal, worker
from featurebank.system.progress import Reporter
from featurebank import set_threads

path, log, grid, options, pause, hold = Path(sys.argv[1]), Path(sys.argv[2]), *map(json.loads, sys.argv[3:7])
recorded = 0

def write(line):
    with log.open("a") as file:
        file.write(f"{os.getpid()} {line}\\n")

class Loud(Reporter):
    def say(self, line):
        write(f"said {line}")

class Journal(journal.Journal):
    def record(self, job, fitted, **more):
        global recorded
        time.sleep(pause)
        while hold and recorded and not Path(hold).exists():
            time.sleep(0.01)
        super().record(job, fitted, **more)
        recorded += 1
        write(f"recorded {job.run}")

import featurebank.grid.stage
featurebank.grid.stage.Journal = Journal
set_threads(1)
write("begins")
runs = train_heads(Bank(path), grid, reporter=Loud(), **options)
write(f"ends {len(runs)} {runs[0].run}")
"""


partners: list[subprocess.Popen[str]] = []
"""Those that a test has started."""


def start_partner(
    bank: Bank, log: Path, grid: Any, *, pause: float = 0.02, hold: Path | None = None, **options: Any
) -> subprocess.Popen[str]:
    """Starts a process that trains a grid and writes what it does into a log.

    Args:
        bank: what it trains on.
        log: to write into.
        grid: of heads.
        pause: for how many seconds it waits before each record.
        hold: a file; the process records no second run before there is one.
        options: of `train_heads`.
    """
    arguments = [str(bank.path), str(log), *map(json.dumps, (grid, options, pause, hold and str(hold)))]
    partners.append(Fork([sys.executable, "-c", PARTNER, *arguments], stderr=subprocess.PIPE, text=True))
    return partners[-1]


def logged(log: Path, what: str) -> list[list[str]]:
    """Returns what the processes have written of a kind: the number of each and the words of its lines."""
    if not log.exists():
        return []
    lines = [line.split() for line in log.read_text().splitlines()]
    return [[line[0], *line[2:]] for line in lines if line[1] == what]
