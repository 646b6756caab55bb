"""Several fine-tunes on a cluster: each is that of one process, and continues elsewhere if its worker dies."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from finetunes import save_photos
from listener import Listener

import featurebank as fb
from featurebank.bank import Bank
from featurebank.bank.locks.claims import HOLDER
from featurebank.bank.locks.note import read_note
from featurebank.bank.maintenance.unfinished import CHECKPOINT
from featurebank.errors import HeadError

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="session")
def photos_bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    place = tmp_path_factory.mktemp("finetunes")
    save_photos(place / "photos")
    return fb.extract(str(place / "photos"), "tiny:network", cache=place / "cache")


def holder_with_checkpoint(directory: Path) -> int:
    """Waits until a fine-tune has written a checkpoint; returns the process that runs it."""
    while True:
        for path in directory.glob(f"*{HOLDER}"):
            if (note := read_note(path)) and path.with_name(path.name.replace(HOLDER, CHECKPOINT)).is_file():
                return note.process
        time.sleep(0.01)


@pytest.mark.slow
def test_a_fine_tune_whose_worker_is_killed_continues_from_its_checkpoint(photos_bank: Bank, scheduler: str) -> None:
    runs = fb.train_heads(photos_bank, [{"kind": "ridge", "alpha": alpha} for alpha in (1.0, 100.0)])
    listener = Listener()
    with ThreadPoolExecutor(1) as pool:
        tuning = pool.submit(
            fb.finetune_all, "top:2", bank=photos_bank, cluster=scheduler, reporter=listener, unfreeze=["last", "all"],
            keep_going=True, epochs=3, batch_size=8, checkpoint_every=1,
        )  # fmt: skip
        os.kill(holder_with_checkpoint(photos_bank.path / "runs"), signal.SIGKILL)
        tuned = tuning.result(timeout=300)
    assert sorted(str(run.finetune and run.finetune["from"]) for run in tuned) == sorted(run.run for run in runs)
    assert all(run.saved_path.is_file() for run in tuned)
    assert not list((photos_bank.path / "runs").glob(f"*{CHECKPOINT}"))
    assert [line for line in listener.said if "resuming at phase" in line]
    assert {run.finetune["from"] for run in tuned if run.finetune} == {
        start for start in (run.run for run in runs) if any(line.startswith(f"{start}: ") for line in listener.said)
    }, "each line says which fine-tune it is about"


def test_a_cluster_finds_the_fine_tunes_of_one_process(photos_bank: Bank, scheduler: str) -> None:
    runs = fb.train_heads(photos_bank, [{"kind": "ridge", "alpha": alpha} for alpha in (2.0, 200.0)])
    here = fb.finetune_all(runs, unfreeze="last", epochs=1)
    listener = Listener()
    there = fb.finetune_all(runs, cluster=scheduler, unfreeze="last", epochs=1, reporter=listener)
    assert [run.run for run in there] == [run.run for run in here]
    assert {f"{start.run}: fine-tuned before: run {run.run}" for start, run in zip(runs, here, strict=True)} <= set(
        listener.said
    )
    assert listener.done == listener.total == 2


def test_what_fails_on_a_worker_is_one_line(photos_bank: Bank, scheduler: str) -> None:
    knn = fb.train_heads(photos_bank, "knn")[0]
    with pytest.raises(HeadError, match=rf"1 of 1 fine-tune failed; the first, from run {knn.run}: .*layers"):
        fb.finetune_all([knn], cluster=scheduler, unfreeze="last", epochs=1)
