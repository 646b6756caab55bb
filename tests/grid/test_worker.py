"""Working off a grid: failures of a piece, the budget, interruption, what is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from grids import FAST, kept, records
from listener import Listener

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.errors import DatasetError, DiskFullError, HeadError
from featurebank.grid import worker
from featurebank.heads.neural.network import DenseNetwork
from featurebank.runs.run import RunRecord, load_runs

pytestmark = pytest.mark.heavy

KNN: list[dict[str, Any]] = [{"kind": "knn", "n_neighbors": n} for n in range(1, 31)]


def test_want_of_memory_for_heads_together_is_no_end(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are trained one by one; what does not fit alone is a row."""
    fit = worker.fit_heads

    def scarce(specs: Any, data: Any, on_fitted: Any) -> None:
        if len(specs) > 1:
            on_fitted_first = []
            fit(specs[:1], data, lambda i, fitted: (on_fitted_first.append(i), on_fitted(i, fitted)))
            raise MemoryError
        if specs[0][0].params.get("n_neighbors") == 5:
            message = "no room\nfor it"
            raise MemoryError(message)
        fit(specs, data, on_fitted)

    monkeypatch.setattr(worker, "fit_heads", scarce)
    bank, listener = make_bank(noise=4.0), Listener()
    runs = train_heads(bank, FAST, reporter=listener)
    assert [run.failure for run in runs] == [None] * 4 + ["MemoryError: no room for it"]
    assert listener.done == 5
    assert len(records(bank)) == 4, "the next call tries again what memory had no room for"


def test_a_record_that_cannot_be_written_ends_the_grid(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: RunRecord) -> None:
        message = "no space is left"
        raise DiskFullError(message)

    monkeypatch.setattr(RunRecord, "save", save)
    with pytest.raises(DiskFullError):
        train_heads(make_bank(), FAST)


def test_an_interruption_loses_nothing_that_was_finished(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch, trained: list[tuple[Any, int]]
) -> None:
    bank = make_bank(noise=4.0)
    save = RunRecord.save

    def interrupted(self: RunRecord) -> None:
        save(self)
        if len(records(bank)) == 7:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_heads(bank, KNN)
    assert len(records(bank)) == 7
    trained.clear()
    assert len(train_heads(bank, KNN)) == 30
    assert len(trained) == 23


def slow(monkeypatch: pytest.MonkeyPatch, pause: float) -> None:
    """Lets every head take some time."""
    from sklearn.neighbors import KNeighborsClassifier

    fit = KNeighborsClassifier.fit

    def waiting(self: Any, *rest: Any) -> Any:
        time.sleep(pause)
        return fit(self, *rest)

    monkeypatch.setattr(KNeighborsClassifier, "fit", waiting)


def test_a_budget_keeps_what_is_done_and_goes_on(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, listener = make_bank(noise=4.0), Listener()
    train_heads(bank, [{"kind": "nearest_mean"}])  # imports what there is to import
    slow(monkeypatch, 0.1)
    began = time.perf_counter()
    runs = train_heads(bank, KNN, budget=1.5, reporter=listener)
    took = time.perf_counter() - began
    assert took < 1.5 * 1.1 + 0.4
    assert 4 <= len(runs) <= 16
    assert listener.said[-1] == (
        f"the budget of 1.5 s is spent: {30 - len(runs)} of 30 runs were skipped; the same command continues with them"
    )
    assert {run.run for run in load_runs(bank)} > {run.run for run in runs}
    assert kept(bank)
    more = train_heads(bank, KNN, budget=1.5)
    assert len(more) > len(runs)
    monkeypatch.undo()
    assert len(train_heads(bank, KNN)) == 30


def test_a_budget_ends_heads_with_epochs_after_an_epoch(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However wrong it was guessed how long they would take."""
    bank = make_bank(noise=4.0)
    train_heads(bank, [{"kind": "softmax", "epochs": 1}])
    run_epoch, epochs = DenseNetwork.run_epoch, []

    def waiting(self: DenseNetwork, *rest: Any) -> Any:
        time.sleep(0.2)
        epochs.append(1)
        return run_epoch(self, *rest)

    monkeypatch.setattr(DenseNetwork, "run_epoch", waiting)
    monkeypatch.setattr(worker.Speed, "fitting", lambda self, jobs, data, left: list(jobs) if left > 0 else [])
    heads = [{"kind": "softmax", "epochs": 1000, "learning_rate": rate} for rate in (1e-6, 2e-6)]
    runs = train_heads(bank, [{"kind": "nearest_mean"}, *heads], budget=1.5)
    assert 1 <= len(epochs) <= 9, "of a fifth of a second each"
    assert [run.head for run in runs] == ["nearest_mean"]


def test_heads_of_an_unknown_speed_are_tried_a_few_at_a_time(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fit = worker.fit_heads

    def spy(specs: Any, *rest: Any) -> None:
        calls.append(len(specs))
        fit(specs, *rest)

    monkeypatch.setattr(worker, "fit_heads", spy)
    assert len(train_heads(make_bank(), KNN, budget=30)) == 30
    assert calls == [1, 29]


def test_a_budget_too_short_for_anything(make_bank: Callable[..., Bank]) -> None:
    with pytest.raises(HeadError, match=r"the budget of 1e-06 s is too short for any of the 5 runs"):
        train_heads(make_bank(), FAST, budget=1e-6)


def test_failed_runs_are_tried_again_on_request(make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]) -> None:
    bank = make_bank()
    grid: list[dict[str, Any]] = [{"kind": "knn"}, {"kind": "knn", "n_neighbors": 1000}]
    first = train_heads(bank, grid)
    assert train_heads(bank, grid) == first
    assert len(trained) == 2
    again = train_heads(bank, grid, retry_failed=True)
    assert len(trained) == 3
    assert [run.failure for run in again] == [run.failure for run in first]


def test_folds_judge_every_head_on_all_images(make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]) -> None:
    bank, listener = make_bank(noise=4.0), Listener()
    grid = [*FAST, {"kind": "random_forest", "n_estimators": 3}]
    runs = train_heads(bank, grid, seeds=2, folds=3, repeats=2, reporter=listener)
    assert len(trained) == (5 + 2) * 3 * 2 + 1
    assert [run.fold is None for run in runs] == [True] + [False] * 42
    assert len({run.run for run in runs}) == 43
    folds = {run.fold for run in runs if run.fold}
    assert folds == {(part, 3, repeat) for part in range(3) for repeat in range(2)}
    assert runs[0].spec == runs[1].spec
    assert kept(bank) == {runs[0].run}
    assert train_heads(bank, grid, seeds=2, folds=3, repeats=2) == runs
    assert len(trained) == 43
    own = train_heads(bank, FAST)
    assert runs[0].run in {run.run for run in own}, "on the bank's own split, ids are what they are without folds"


def test_folds_that_cannot_be_are_told_before_anything_starts(
    make_bank: Callable[..., Bank], no_training: Callable[[], None]
) -> None:
    no_training()
    with pytest.raises(DatasetError, match="121 folds need at least 121 different"):
        train_heads(make_bank(), FAST, folds=121)
    with pytest.raises(DatasetError, match="no validation images"):
        train_heads(make_bank("b", splits=(60, 0, 30)), FAST, folds=3)


def test_taps_are_worked_off_by_their_size(make_bank: Callable[..., Bank], trained: list[tuple[Any, int]]) -> None:
    bank = make_bank(taps=("map", "pooled"))
    train_heads(bank, FAST[:2], taps=["map", "pooled"])
    taps = [spec.tap for spec, _ in trained]
    assert taps in (["map", "map", "pooled", "pooled"], ["pooled", "pooled", "map", "map"])
