"""Choosing by validation alone; the test split is opened once, for the chosen run."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank import evaluate_test, leaderboard, metrics, select, train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.rows import StoredRows
from featurebank.bank.writer import BankWriter
from featurebank.dataset.splits import SPLITS
from featurebank.errors import DatasetError, HeadError
from featurebank.heads.storage.saving import save_head
from featurebank.runs.refitting import trained_head
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system import digest

pytestmark = pytest.mark.heavy

GRID: list[dict[str, Any]] = [
    {"kind": "knn", "n_neighbors": 1},
    {"kind": "knn", "n_neighbors": 5},
    {"kind": "ridge"},
    {"kind": "nearest_mean"},
    {"kind": "softmax", "epochs": 3},
]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """Which splits were asked for, by what; of features, whose rows were read."""
    asked: list[tuple[str, str | None]] = []
    read, labels = StoredRows.read, Bank.labels

    def spy_read(self: StoredRows, tap: str, view: int, positions: np.ndarray) -> np.ndarray:
        asked.extend(("features", SPLITS[number]) for number in np.unique(self._items.splits[positions]).tolist())
        return read(self, tap, view, positions)

    def spy_labels(self: Bank, split: str | None = None) -> np.ndarray:
        asked.append(("labels", split))
        return labels(self, split)

    monkeypatch.setattr(StoredRows, "read", spy_read)
    monkeypatch.setattr(Bank, "labels", spy_labels)
    return asked


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fit_heads(*_: Any) -> None:
        raise AssertionError("a head would be trained")

    return lambda: monkeypatch.setattr("featurebank.runs.refitting.fit_heads", fit_heads)


def test_training_and_choosing_never_open_the_test_split(
    make_bank: Callable[..., Bank], opened: list[tuple[str, str | None]]
) -> None:
    bank = make_bank(noise=4.0)
    select(train_heads(bank, GRID, seeds=2))
    leaderboard(bank)
    assert set(opened) == {(what, split) for what in ("features", "labels") for split in ("train", "val")}


def test_the_test_split_plays_no_part_in_the_runs(make_bank: Callable[..., Bank]) -> None:
    """A bank whose test labels are all wrong gives the same choice."""
    bank = make_bank(noise=4.0)
    items = bank._items
    wrong = np.where(items.splits == 2, (items.labels + 1) % 3, items.labels).astype(np.int32)
    twin = make_bank("twin", noise=4.0)
    with BankWriter(twin.path, twin.recipe, twin.manifest.dataset) as writer:
        writer.finish(Items(items.ids, items.digests, wrong, items.splits), twin.taps, (), None)
    grid = GRID[:4]
    one, other = (train_heads(b, grid) for b in (bank, Bank(twin.path)))
    assert {(str(r.spec), json.dumps(r.metrics)) for r in one} == {(str(r.spec), json.dumps(r.metrics)) for r in other}


def test_select_is_the_first_of_the_leaderboard(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    runs = train_heads(bank, GRID)
    assert leaderboard(bank) == runs
    assert select(reversed(runs)) == runs[0]
    assert runs[0].metrics["val"]["accuracy"] == max(run.metrics["val"]["accuracy"] for run in runs)


def test_nothing_to_choose_from() -> None:
    with pytest.raises(HeadError, match="there is no run to choose from"):
        select([])


def test_only_failed_runs_to_choose_from(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    with pytest.raises(HeadError):
        train_heads(bank, [{"kind": "knn", "n_neighbors": 1000}])
    with pytest.raises(HeadError, match="the only run failed; the first: knn"):
        select(load_runs(bank))
    with pytest.raises(HeadError, match=r"failed \(.*\): choose another"):
        evaluate_test(bank, load_runs(bank)[0])


def test_the_test_is_recorded_with_its_date(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, GRID[:4]))
    tested = evaluate_test(bank, best)
    head = trained_head(bank, best)
    expected = metrics.short_scores(head.predict_proba(bank.features("pooled", "test")), bank.labels("test"))
    assert {name: tested.metrics["test"][name] for name in expected} == pytest.approx(expected)
    assert (tested.metrics["test"]["images"], tested.metrics["test"]["opened_before"]) == (30, 0)
    for name in ("accuracy", "loss", "macro_f1"):
        low, high = tested.metrics["test"][f"{name}_interval"]
        assert low <= expected[name] <= high
    assert tested.tested
    assert tested.tested.endswith("Z")
    assert (tested.metrics["val"], tested.metrics["train"]) == (best.metrics["val"], best.metrics["train"])
    assert [run.run for run in load_runs(bank) if run.tested] == [best.run]
    assert next(run for run in load_runs(bank) if run.tested) == tested


def test_the_test_split_is_opened_once(make_bank: Callable[..., Bank], opened: list[tuple[str, str | None]]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, GRID[:4]))
    tested = evaluate_test(bank, best)
    assert ("features", "test") in opened
    opened.clear()
    assert evaluate_test(bank, tested) == tested
    assert evaluate_test(bank, best) == tested, "also with the run as it was before its test"
    assert evaluate_test(bank, select(load_runs(Bank(bank.path)))) == tested
    assert evaluate_test(bank, select(train_heads(bank, GRID[:4]))) == tested
    assert opened == []


def test_opening_the_test_split_for_another_run_is_counted(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    told = Listener()
    runs = train_heads(bank, GRID[:3])
    for before, run in enumerate(runs):
        assert evaluate_test(bank, run, reporter=told).metrics["test"]["opened_before"] == before
    evaluate_test(bank, runs[0], reporter=told)
    for line, number, count in zip(told.warned, (1, 2), ("once", "2 times"), strict=True):
        assert line.startswith(f"all 30 test images were opened {count} before, for ")
        assert all(run.run in line for run in runs[:number])


def on_folds(run: RunRecord, index: int, accuracy: float, created: str = "2030-01-01T00:00:00Z") -> RunRecord:
    """A run as a grid on two folds records it."""
    val = {**run.metrics["val"], "accuracy": accuracy}
    told: dict[str, Any] = {"fold": (index, 2, 0), "metrics": {**run.metrics, "val": val}, "created": created}
    return replace(run, run=f"{run.run}-{index}", **told)


def test_on_folds_the_run_on_the_banks_own_split_is_chosen(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    own = {str(run.params): run for run in train_heads(bank, GRID[:2])}
    first, second = own.values()
    folds = [on_folds(run, index, accuracy) for run, accuracy in ((first, 0.6), (second, 0.9)) for index in range(2)]
    assert select([first, second, *folds]).run == second.run
    assert select([first, *folds]).run == f"{second.run}-0", "where there is none, the best on folds"
    assert select([first, second, *folds], folds=1) == select([first, second])
    with pytest.raises(
        HeadError, match="no run was evaluated on 5 folds: there are runs on the bank's own split and 2 f"
    ):
        select([first, *folds], folds=5)
    with pytest.raises(HeadError, match=r"was trained on fold 1 of 2: train knn.* without folds"):
        evaluate_test(bank, folds[0])
    for run in folds:
        run.save()
    board = leaderboard(bank)
    assert (board.folds, {run.folds for run in board}) == (2, {2})
    assert {run.run for run in leaderboard(bank, folds=1)} == {first.run, second.run}


def test_the_simplest_within_one_standard_error(make_bank: Callable[..., Bank]) -> None:
    found = [
        replace(run, parameters=number, metrics={**run.metrics, "val": {**run.metrics["val"], "accuracy": accuracy}})
        for run, number, accuracy in zip(train_heads(make_bank(), GRID[:3]), (90, 5, 1), (0.9, 0.88, 0.5), strict=True)
    ]
    assert select(found).parameters == 90
    assert select(found, one_se=True).parameters == 5


def test_only_runs_that_a_race_stopped(make_bank: Callable[..., Bank]) -> None:
    stopped = [replace(run, rung=(1, 3, 5)) for run in train_heads(make_bank(), GRID[:2])]
    with pytest.raises(HeadError, match="a race stopped all 2 runs"):
        select(stopped)


def test_a_tested_run_keeps_its_weights_and_its_place(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    first = evaluate_test(bank, select(train_heads(bank, [{"kind": "knn", "n_neighbors": 1}])))
    second = select(train_heads(bank, GRID[:4]))
    assert second.run != first.run, "or this test says nothing"
    assert first.saved_path.is_file()
    assert second.saved_path.is_file()
    assert len(list(first.saved_path.parent.glob("*.head"))) == 2
    assert next(run for run in load_runs(bank) if run.run == first.run).tested == first.tested


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "ridge"},
        {"kind": "softmax", "epochs": 3},
        {"kind": "random_forest", "n_estimators": 5},
        {"kind": "nearest_mean", "calibrate": "temperature"},
    ],
)
def test_weights_that_were_deleted_are_trained_again(make_bank: Callable[..., Bank], kind: dict[str, Any]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, [kind], seeds=[3]))
    expected = trained_head(bank, best).predict_proba(bank.features("pooled", "val"))
    best.saved_path.unlink()
    again = trained_head(bank, best).predict_proba(bank.features("pooled", "val"))
    np.testing.assert_allclose(again, expected, atol=1e-5)
    assert evaluate_test(bank, best).metrics["test"]["images"] == 30


def test_weights_that_are_damaged_are_trained_again(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, GRID[:1]))
    expected = evaluate_test(make_bank("twin", noise=4.0), select(train_heads(make_bank("twin2", noise=4.0), GRID[:1])))
    best.saved_path.write_bytes(best.saved_path.read_bytes()[:100])
    assert evaluate_test(bank, best).metrics["test"] == expected.metrics["test"]


def test_kept_weights_are_used(make_bank: Callable[..., Bank], no_training: Callable[[], None]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, GRID[:4]))
    no_training()
    assert evaluate_test(bank, best).tested


def test_a_head_that_cannot_be_saved_is_trained_again(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sklearn.neighbors

    class Foreign(sklearn.neighbors.KNeighborsClassifier):  # type: ignore[misc]
        """A class that no file may name."""

    monkeypatch.setattr(sklearn.neighbors, "Foreign", Foreign, raising=False)
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, [{"kind": "sklearn.neighbors:Foreign"}]))
    assert not best.saved_path.exists()
    plain = make_bank("plain", noise=4.0)
    known = evaluate_test(plain, select(train_heads(plain, [{"kind": "knn"}])))
    again = evaluate_test(bank, best).metrics["test"]
    assert {**again, "opened_before": 0, "images_opened_before": 0} == known.metrics["test"]


def test_a_head_that_comes_out_otherwise_is_refused(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, GRID[:4]))
    best.saved_path.unlink()
    val = {**best.metrics["val"], "accuracy": best.metrics["val"]["accuracy"] - 0.1}
    forged = replace(best, metrics={**best.metrics, "val": val})
    with pytest.raises(HeadError, match="when trained again, its record says"):
        evaluate_test(bank, forged)


def test_a_bank_without_test_images(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 30, 0))
    best = select(train_heads(bank, GRID[:4]))
    with pytest.raises(DatasetError, match=r"no test images: extract again with another --split"):
        evaluate_test(bank, best)
    assert not any(run.tested for run in load_runs(bank))


def test_a_run_of_another_bank_is_refused(make_bank: Callable[..., Bank]) -> None:
    """Of a bank with other images, and of the same one before it changed: its test images may be training images."""
    bank, other = make_bank(), make_bank("other", seed=1)
    best = select(train_heads(bank, GRID[:4]))
    with pytest.raises(HeadError, match="was not trained on 'other' as it is now"):
        evaluate_test(other, best)
    assert not any(run.tested for run in load_runs(bank))


def test_a_class_that_training_lacks_is_counted_as_wrong(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(untrained=(1,))
    lost = np.mean(bank.labels("test") == 1)
    tested = evaluate_test(bank, select(train_heads(bank, GRID[:4]))).metrics["test"]
    assert lost > 0
    assert tested["accuracy"] == pytest.approx(1 - lost, abs=0.02)
    assert tested["loss"] >= -lost * np.log(1e-7) * 0.99
    assert tested["macro_f1"] < 0.7


def test_the_weights_on_disk_are_those_that_are_scored(make_bank: Callable[..., Bank]) -> None:
    """Not weights that happen to be in memory: what is taken home is what was tested."""
    bank = make_bank(noise=4.0)
    best = select(train_heads(bank, [{"kind": "ridge"}]))
    head = trained_head(bank, best)
    head.bias_ = head.bias_ + np.array([1e6, 0, 0])
    save_head(head, best.saved_path)
    best = replace(best, weights=digest.of_file(best.saved_path))
    best.save()
    assert evaluate_test(bank, best).metrics["test"]["accuracy"] == np.mean(bank.labels("test") == 0)


def test_no_record_says_which_code_is_run(
    make_bank: Callable[..., Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of a stranger's bank may name any module; neither the leaderboard nor a new training imports it."""
    bank, mark = make_bank(), tmp_path / "mark"
    (tmp_path / "strangers_heads.py").write_text(
        f"open({str(mark)!r}, 'w').close()\nclass Head: fit = predict = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = train_heads(bank, [{"kind": "nearest_mean"}])[0]
    hostile = replace(run, head="strangers_heads:Head", params={"a": 1}, weights=None)
    hostile.save()
    run.saved_path.unlink(missing_ok=True)
    assert "strangers_heads:Head(a=1)" in str(load_runs(bank)[0].spec)
    leaderboard(bank)
    with pytest.raises(HeadError, match="no file may say which code is run"):
        trained_head(bank, hostile)
    assert not mark.exists()
    importlib.import_module("strangers_heads")
    assert mark.exists()
