"""Two processes on one fine-tune: one does it, the other is told who; what a dead one has held is free."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from listener import Listener
from processes import ended

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
fb.finetune(sys.argv[2], bank=fb.open_bank(sys.argv[1]), reporter=Waiting(), **{WANTED!r})
"""


def start(*words: str) -> subprocess.Popen[str]:
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'support'}"
    return subprocess.Popen(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": paths}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_one_process_holds_a_fine_tune_until_it_ends(bank: Bank, head: RunRecord, said: Listener) -> None:
    with start("-c", SCRIPT, str(bank.path), head.run) as first, ended(first):
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n", first.communicate()[1]
        told = rf"^process {first.pid} on .* has been doing this fine-tune \(run (\w+)\) since 20.*Z: wait for it"
        with pytest.raises(RunLockedError, match=told) as caught:
            fb.finetune(head, bank=bank, **WANTED)
        name = re.match(told, str(caught.value))

        (held,) = (bank.path / "runs").glob("*.holder")
        collect(bank.path)
        assert held.exists()
        fb.finetune(head, bank=bank, **{**WANTED, "seed": 78})  # another one is free
        first.kill()
        first.wait()
    assert json.loads(held.read_text())["process"] == first.pid
    run = fb.finetune(head, bank=bank, **WANTED)
    assert name is not None
    assert run.run == name[1], "both processes have meant the same run"
    assert run.history is not None
    assert len(run.history["loss"]) == 3
    assert not held.exists()
    assert fb.finetune(head, bank=bank, **WANTED, reporter=said) == run
    assert said.said == [f"fine-tuned before: run {run.run}"]
