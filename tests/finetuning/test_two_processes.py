"""Two processes on one fine-tune: one does it, the other is told who."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from listener import Listener

import featurebank as fb
from featurebank.bank import Bank
from featurebank.bank.maintenance.garbage import collect
from featurebank.errors import RunLockedError
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]
WANTED: dict[str, Any] = {"unfreeze": ["last"], "epochs": 3, "batch_size": 8, "seed": 77}

SCRIPT = f"""
import sys
import featurebank as fb
from featurebank.system.progress import Reporter

class Waiting(Reporter):
    def say(self, line):
        if line.startswith("phase 1, epoch 1 of 3"):
            print("begun", flush=True)
            sys.stdin.readline()

fb.load_backbone("tiny:network")  # or no file may say that it is run
run = fb.finetune(sys.argv[2], bank=fb.open_bank(sys.argv[1]), reporter=Waiting(), **{WANTED!r})
print(run.run, flush=True)
"""


def start(bank: Bank, *words: str) -> subprocess.Popen[str]:
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
    return subprocess.Popen(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_the_second_process_is_told_who_does_it(bank: Bank, head: RunRecord, said: Listener) -> None:
    with start(bank, "-c", SCRIPT, str(bank.path), head.run) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n", first.communicate()[1]
        told = rf"^process {first.pid} on .* has been doing this fine-tune \(run \w+\) since 20.*Z: wait for it to end"
        with pytest.raises(RunLockedError, match=told):
            fb.finetune(head, bank=bank, **WANTED)

        held = {file.name for file in (bank.path / "runs").glob("*.holder")}
        collect(bank.path)
        assert {file.name for file in (bank.path / "runs").glob("*.holder")} == held != set()
        fb.finetune(head, bank=bank, **{**WANTED, "seed": 78})  # another one is free

        out, errors = first.communicate("\n", timeout=120)
        run = fb.finetune(head, bank=bank, **WANTED, reporter=said)
        assert out.strip() == run.run, errors
        assert said.said == [f"fine-tuned before: run {run.run}"]
    assert list((bank.path / "runs").glob("*.holder")) == []


def test_a_killed_process_holds_nothing(bank: Bank, head: RunRecord, said: Listener) -> None:
    wanted = {**WANTED, "seed": 79}
    script = SCRIPT.replace(repr(WANTED), repr(wanted))
    with start(bank, "-c", script, str(bank.path), head.run) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n", first.communicate()[1]
        first.kill()
        first.wait()
    (left,) = (bank.path / "runs").glob("*.holder")
    assert json.loads(left.read_text())["process"] == first.pid
    run = fb.finetune(head, bank=bank, **wanted, reporter=said)
    assert run.history is not None
    assert len(run.history["loss"]) == 3
    assert not left.exists()
