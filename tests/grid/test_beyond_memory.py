"""Grids on features that do not fit into memory: one line, heads that read blocks, samples, and ends between blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from listener import Listener

import featurebank
from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.errors import BankDamagedError, ConfigError, DatasetError, HeadError
from featurebank.fitting.checks import check_sample
from featurebank.fitting.data import TrainingData
from featurebank.fitting.spec import HeadSpec
from featurebank.grid import time_budget
from featurebank.heads.streamed.passes import Passes
from featurebank.runs.leaderboard import run_rows
from featurebank.runs.refitting import images_of, refitted_head
from featurebank.runs.run import load_runs

pytestmark = pytest.mark.heavy

STREAMED = ["ridge", "lda", "nearest_mean", "logistic"]


def test_heads_that_cannot_read_blocks_fail_and_the_others_go_on(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank, listener = vector_bank(), Listener()
    set_ram(3000)
    runs = train_heads(bank, ["knn", *STREAMED], reporter=listener)
    assert [run.head for run in runs if run.failure] == ["knn"]
    line = (
        "features of 'pooled' need 5.8 kB, --ram allows 3.0 kB: heads that can read them in blocks do so; the others "
        "fail unless those of the training images fit"
    )
    assert listener.said.count(line) == 1
    assert {run.head for run in load_runs(bank)} == set(STREAMED)  # a head that lacks memory is tried again
    set_ram(10**9)
    listener = Listener()
    assert not any(run.failure for run in train_heads(bank, ["knn", *STREAMED], reporter=listener))
    assert listener.said == ["5 runs: 4 trained before, 1 to train"]


def test_a_run_of_heads_in_blocks_is_the_run_in_memory(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    """The way of reading is no part of a run: its id, its metrics and its refitted head are the same."""
    bank = vector_bank()
    expected = {run.run: run for run in train_heads(bank, STREAMED)}
    for path in (bank.path / "runs").iterdir():
        path.unlink()
    set_ram(3000)
    found = {run.run: run for run in train_heads(bank, STREAMED)}
    assert found.keys() == expected.keys()
    for name, run in found.items():
        assert run.metrics["val"]["recall"] == expected[name].metrics["val"]["recall"]
        assert run.metrics["val"]["loss"] == pytest.approx(expected[name].metrics["val"]["loss"], rel=1e-6)
        run.saved_path.unlink(missing_ok=True)
        assert np.allclose(refitted_head(bank, run).weights_, expected[name].load().weights_, rtol=1e-6)


def test_folds_of_features_in_the_bank(vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]) -> None:
    bank = vector_bank()
    expected = train_heads(bank, ["ridge"], folds=3)
    for path in (bank.path / "runs").iterdir():
        path.unlink()
    set_ram(3000)
    found = train_heads(bank, ["ridge"], folds=3)
    assert [run.run for run in found] == [run.run for run in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.metrics["val"]["loss"] == pytest.approx(other.metrics["val"]["loss"], rel=1e-6)


def test_predictions_of_features_in_the_bank(vector_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank = vector_bank()
    runs = train_heads(bank, ["ridge", {"kind": "ridge", "calibrate": "temperature"}])
    for run in runs:
        run.load()
    expected = [run.predictions(split).probabilities for run in runs for split in ("train", "val")]
    monkeypatch.setattr("featurebank.fitting.data.ram_limit", lambda: 10)  # the probabilities fit, the features do not
    monkeypatch.setattr(Passes, "rows", lambda passes, width=0: 25)
    found = [run.predictions(split).probabilities for run in runs for split in ("train", "val")]
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-6)


# ---------------------------------------------------------------- samples


def test_a_sample_is_a_run_of_its_own(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    whole = train_heads(bank, "knn")[0]
    run = train_heads(bank, "knn", sample=50)[0]
    assert (run.sample, whole.sample) == (50, None)
    assert run.run != whole.run
    assert "sample" not in whole.record()
    assert run.record()["sample"] == run.summary()["sample"] == 50
    assert "sample=50" in repr(run)
    assert run.metrics["val"]["images"] == whole.metrics["val"]["images"] == 60
    again = {found.run: found for found in load_runs(bank)}
    assert again[run.run] == run
    assert [row["sample"] for row in run_rows([whole, run])] == [None, 50]
    board = featurebank.leaderboard(bank)
    assert len(board) == 2
    assert len({entry.run for entry in board}) == 2


def test_a_sample_has_the_first_images_in_the_order_of_their_digests(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank(views=1)
    data = TrainingData.of(bank, "pooled", sample=50)
    first = np.sort(bank.digests("train"))[:50]
    assert np.array_equal(bank.digests("train")[:50], first)
    assert np.array_equal(data.X, bank.features("pooled", "train")[:50])
    assert np.array_equal(data.views[0], bank.features("pooled", "train", view=1)[:50])
    assert np.array_equal(data.y, bank.labels("train")[:50])
    assert len(data.X_val) == 60


def test_a_sample_of_all_images_is_the_run_without(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    assert train_heads(bank, "knn", sample=180)[0].run == train_heads(bank, "knn")[0].run
    assert train_heads(bank, "knn", sample=179)[0].run != train_heads(bank, "knn")[0].run


def test_a_sample_is_refitted_on_the_same_images(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    run = train_heads(bank, "ridge", sample=50)[0]
    head = run.load()
    run.saved_path.unlink()
    assert np.array_equal(refitted_head(bank, run).weights_, head.weights_)
    assert len(images_of(bank, run).X) == 50
    assert run.predictions("train").probabilities.shape == (180, 4)


def test_a_sample_of_folds(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    own, *folds = train_heads(bank, ["ridge"], folds=3, sample=40)
    assert own.sample == 40
    assert [run.sample for run in folds] == [40] * 3
    data = images_of(bank, folds[0])
    assert (len(data.X), len(data.X_val)) == (40, 80)
    assert not np.isin(data.X, data.X_val).all(axis=1).any()
    assert folds[0].predictions("train").probabilities.shape == (160, 4)


def test_a_sample_lets_heads_train_that_need_memory(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    bank, listener = vector_bank(), Listener()
    set_ram(3000)
    assert train_heads(bank, "knn", sample=20, reporter=listener)[0].failure is None
    assert not any(line.startswith("features of") for line in listener.said)


@pytest.mark.parametrize("sample", [1, 0, "many"])
def test_a_wrong_sample(vector_bank: Callable[..., Bank], sample: Any) -> None:
    with pytest.raises(ConfigError, match=f"sample is {sample!r}"):
        train_heads(vector_bank(), "knn", sample=sample)


def test_a_sample_of_one_class(vector_bank: Callable[..., Bank]) -> None:
    bank = vector_bank()
    labels = bank.labels("train")
    labels[:3] = labels[0]
    with pytest.raises(DatasetError, match=r"the first 3 training images of .* are all of class '.'.* a larger --s"):
        check_sample(bank, labels[:3])


def test_specifications_that_differ_in_the_sample_alone() -> None:
    spec = HeadSpec("knn", {"n_neighbors": 3})
    sampled = replace(spec, sample=7)
    assert spec.key != sampled.key
    assert spec.key == HeadSpec("knn", {"n_neighbors": 3}).key
    assert str(sampled) == "knn(n_neighbors=3, sample=7)"


# ---------------------------------------------------------------- ends


def test_a_shard_that_goes_away_is_no_result_of_a_head(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any]
) -> None:
    """One clear line, and no record, so that the same command goes on when the shard is there again."""
    bank = vector_bank()
    bank._rows.check("pooled", 0)  # the rows are located before
    path = bank.path / bank.manifest.shards[3].file
    content = path.read_bytes()
    path.unlink()
    set_ram(3000)
    for heads in ("ridge", STREAMED):
        with pytest.raises(BankDamagedError, match=r"^shard '.*' is damaged: the file does not exist; run the same 'f"):
            train_heads(bank, heads)
        assert load_runs(bank) == []
    path.write_bytes(content)
    assert train_heads(bank, "ridge")[0].failure is None


def test_the_budget_ends_a_pass_between_two_blocks(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock stands until the first block of a pass was read; then the time is over."""
    bank, blocks = vector_bank(), list[int]()
    now = [time.monotonic()]
    monkeypatch.setattr(time_budget.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Passes, "rows", lambda passes, width=0: 1)
    run = Passes.run_rows

    def run_rows(self: Passes, work: Any, add: Any, **options: Any) -> None:
        def counting(result: Any) -> None:
            blocks.append(1)
            now[0] += 100
            add(result)

        run(self, work, counting, **options)

    monkeypatch.setattr(Passes, "run_rows", run_rows)
    set_ram(3000)
    with pytest.raises(HeadError, match="the budget of 5 s is too short for any of the 1 run"):
        train_heads(bank, "ridge", budget=5)
    assert load_runs(bank) == []


def test_an_interrupt_ends_the_pass_in_the_other_thread(
    vector_bank: Callable[..., Bank], set_ram: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = vector_bank()
    monkeypatch.setattr(Passes, "rows", lambda passes, width=0: 1)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featurebank.fitting.parallel.part_ended", interrupt)
    set_ram(3000)
    with pytest.raises(KeyboardInterrupt):
        train_heads(bank, "ridge")
    for thread in threading.enumerate():
        if thread.name == "featurebank-heads":
            thread.join(10)
            assert not thread.is_alive()
    assert load_runs(bank) == []
