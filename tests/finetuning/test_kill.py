"""Killed at any moment, a fine-tune goes on, gives what it would have given in peace, and leaves no broken file."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from processes import ended

from featurebank import load_model
from featurebank.bank import Bank
from featurebank.runs.finetuned import finetuned_model
from featurebank.runs.run import RunRecord, read_run

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = '''
"""Fine-tunes on one thread; dies where a file is about to get its name, if that is asked for."""
import os, signal, sys
from pathlib import Path
import featurebank as fb
import featurebank.system.files as files
from featurebank.system.progress import Reporter

fb.set_threads(1)
left, sync = int(os.environ.get("DIE", "0")), files.sync

def dying(path):
    global left
    if Path(path).is_file():
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sync(path)

files.sync = dying

class Lines(Reporter):
    def say(self, line):
        print(line, flush=True)

fb.load_backbone("tiny:network")  # or no file may say that it is run
for number in range(int(os.environ.get("TIMES", "1"))):
    if number:
        sys.stdin.readline()  # the test has looked at the run and has taken it away
    run = fb.finetune(
        sys.argv[2], bank=fb.open_bank(sys.argv[1]), unfreeze=["last", "all"], keep_going=True, epochs=15,
        batch_size=8, optimizer="adam", learning_rate=.001, augment="flip,noise=.05", dropout=.2, checkpoint_every=2,
        patience=15, reporter=Lines(),
    )
    print("run", run.run, flush=True)
'''


@dataclass(frozen=True)
class Outcome:
    """A run and the weights of its model."""

    run: RunRecord
    weights: list[np.ndarray]

    @classmethod
    def of(cls, run: RunRecord) -> Outcome:
        return cls(run, [weight.numpy() for weight in finetuned_model(run).weights])


class Victim:
    """Starts the script, again and again."""

    def __init__(self, bank: Bank, head: RunRecord, place: Path) -> None:
        self.bank, self._script = bank, place / "script.py"
        self._script.write_text(SCRIPT)
        self._arguments = [sys.executable, str(self._script), str(bank.path), head.run]

    def start(self, **environment: object) -> subprocess.Popen[str]:
        paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
        asked = {name: str(value) for name, value in environment.items()}
        return subprocess.Popen(
            self._arguments, env={**os.environ, "PYTHONPATH": paths, **asked}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def finish(self, times: int = 1) -> list[Outcome]:
        """Lets it run to its end, more than once from the beginning; the runs are taken away."""
        found = []
        with ended(self.start(TIMES=times)) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            for _ in range(times):
                lines = iter(process.stdout.readline, "")
                last = next((line.split() for line in lines if line.startswith("run ")), None)
                assert last is not None, process.communicate()[1]
                run = read_run(self.bank.path / "runs" / f"{last[1]}.json")
                assert run is not None
                found.append(Outcome.of(run))
                self.forget(run)
                process.stdin.write("\n")
                process.stdin.flush()
            assert process.wait(timeout=300) == 0
        return found

    def look(self) -> None:
        """Whatever has a name is whole."""
        for path in (self.bank.path / "runs").glob("[!.]*.keras"):
            assert load_model(path).classes == self.bank.classes
        for path in (self.bank.path / "runs").glob("[!.]*.json"):
            assert read_run(path) is not None

    def forget(self, run: RunRecord) -> None:
        run.saved_path.unlink()
        (self.bank.path / "runs" / f"{run.run}.json").unlink()


@pytest.fixture(scope="module")
def victim(bank: Bank, head: RunRecord, place: Path) -> Victim:
    return Victim(bank, head, place)


def same(one: Outcome, other: Outcome) -> None:
    assert one.run.history == other.run.history
    assert one.run.metrics == other.run.metrics
    for found, weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(found, weight)


def test_killed_where_files_get_their_names(victim: Victim) -> None:
    process = victim.start(DIE=40)  # in the second phase; other moments are the slow test's
    process.communicate(timeout=300)
    assert process.returncode == -9
    victim.look()
    killed, peace = victim.finish(2)
    same(killed, peace)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(victim: Victim) -> None:
    (peace,) = victim.finish()
    moments, killed = random.Random(0), 0
    while killed < 20:
        process = victim.start()
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 4))
        process.kill()
        process.communicate(timeout=60)
        killed += process.returncode == -9
        victim.look()
        finished = read_run(victim.bank.path / "runs" / f"{peace.run.run}.json")
        if finished:
            same(Outcome.of(finished), peace)
            victim.forget(finished)
    same(*victim.finish(), peace)
