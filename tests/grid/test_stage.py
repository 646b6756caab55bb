"""A grid of heads: what is trained, what is recorded, and how it goes on after an end."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grids import FAST, kept, records, run_child
from listener import Listener

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import DatasetError, HeadError
from featurebank.runs.ranking import ranked
from featurebank.runs.run import RunRecord, load_runs
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy


def test_a_bank_without_validation_images(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 0, 30))
    with pytest.raises(DatasetError, match="no validation images"):
        train_heads(bank, FAST)
    assert load_runs(bank) == []


# ---------------------------------------------------------------- runs


def test_runs_are_recorded_and_ranked(make_bank: Callable[..., Bank]) -> None:
    bank, listener = make_bank(noise=4.0), Listener()
    runs = train_heads(bank, FAST, reporter=listener)
    assert [run.run for run in runs] == [run.run for run in ranked(load_runs(bank))]
    assert {run.run: json.loads(json.dumps(run.record())) for run in runs} == records(bank)
    accuracies = [run.metrics["val"]["accuracy"] for run in runs]
    assert accuracies == sorted(accuracies, reverse=True)
    assert listener.said == ["5 runs: 0 trained before, 5 to train"]
    assert (listener.done, listener.total) == (5, 5)
    for run in runs:
        assert set(run.metrics) == {"train", "val"}
        assert (run.bank, run.tap, run.seed, run.failure, run.tested) == (bank.digest, "pooled", 0, None, None)


def test_what_was_trained_is_not_trained_again(make_bank: Callable[..., Bank], no_training: Callable[[], None]) -> None:
    bank = make_bank(noise=4.0)
    grid = [*FAST, {"kind": "softmax", "epochs": 2}]
    first = train_heads(bank, grid, seeds=2)
    no_training()
    assert train_heads(Bank(bank.path), grid, seeds=2) == first
    with pytest.raises(pytest.fail.Exception, match="would be trained"):
        train_heads(bank, [*grid, {"kind": "svm"}], seeds=2)


def test_a_grid_that_grows_trains_what_is_new(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.grid import worker as module

    bank = make_bank(noise=4.0)
    train_heads(bank, FAST[:3])
    trained: list[str] = []
    fit = module.fit_heads

    def spy(specs: Any, *rest: Any) -> None:
        trained.extend(spec.kind for spec, _ in specs)
        fit(specs, *rest)

    monkeypatch.setattr(module, "fit_heads", spy)
    runs = train_heads(bank, FAST)
    assert set(trained[:2]) == {"nearest_mean", "logistic"}
    assert len(runs) == 5
    assert len(train_heads(bank, FAST[:2])) == 2, "the runs of this grid, not of the bank"


def test_a_record_that_is_damaged_is_trained_again(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    first = train_heads(bank, FAST)
    victim = bank.path / "runs" / f"{first[2].run}.json"
    victim.write_text(victim.read_text()[:40])
    again = train_heads(bank, FAST)
    assert {run.run: run.metrics for run in again} == {run.run: run.metrics for run in first}


def test_failing_heads_are_rows_with_a_reason(make_bank: Callable[..., Bank], no_training: Callable[[], None]) -> None:
    bank = make_bank()
    grid = [
        {"kind": "knn"},
        {"kind": "knn", "n_neighbors": 1000},
        {"kind": "mlp", "hidden_units": 16, "learning_rate": 1e30, "epochs": 2},
        {"kind": "ridge", "pca": 50},
        {"kind": "lda", "pca": 50},
    ]
    runs = train_heads(bank, grid)
    assert [bool(run.failure) for run in runs] == [False, *[True] * 4]
    assert all(run.failure and "\n" not in run.failure and run.metrics == {} for run in runs[1:])
    assert {run.failure for run in runs[1:]} == {record["failure"] for record in records(bank).values()} - {None}
    assert kept(bank) == {runs[0].run}
    no_training()
    assert train_heads(bank, grid) == runs


def test_all_heads_failing_is_an_error(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    grid = [{"kind": "knn", "n_neighbors": n} for n in (1000, 2000)]
    for _ in range(2):
        with pytest.raises(HeadError, match=r"all 2 runs failed; the first: knn\(n_neighbors=[12]000\): .*n_neighbors"):
            train_heads(bank, grid)
    assert kept(bank) == set()


# ---------------------------------------------------------------- seeds and weights


def test_heads_without_chance_are_trained_once(make_bank: Callable[..., Bank]) -> None:
    grid = [{"kind": "knn"}, {"kind": "random_forest", "n_estimators": 3}, {"kind": "sklearn.naive_bayes:GaussianNB"}]
    runs = train_heads(make_bank(), grid, seeds=[5, 3, 5])
    assert sorted((run.head, run.seed) for run in runs) == [
        ("knn", 5), ("random_forest", 3), ("random_forest", 5), ("sklearn.naive_bayes:GaussianNB", 5),
    ]  # fmt: skip


FOREST = {"kind": "random_forest", "n_estimators": 1, "max_depth": 1}
"""Chance decides nearly everything in it."""


def test_seeds_are_ranked_by_their_mean_and_the_better_one_is_kept(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=4.0)
    grid = [{**FOREST, "max_features": n} for n in (1, 2, 4, 8)]
    runs = train_heads(bank, grid, seeds=4)
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        groups.setdefault(run.spec.key, []).append(run)
    means = [np.mean([run.metrics["val"]["accuracy"] for run in group]) for group in groups.values()]
    assert all(one > other - 1 / 30 for one, other in pairwise(means)), "up to an image, which counts as equal"
    assert all(len(group) == 4 for group in groups.values())
    best = max(groups[runs[0].spec.key], key=lambda run: run.metrics["val"]["accuracy"])
    assert runs[0].metrics["val"]["accuracy"] == best.metrics["val"]["accuracy"]
    assert kept(bank) == {runs[0].run}


@pytest.mark.parametrize("order", [1, -1])
def test_the_weights_of_the_first_are_kept_whatever_came_when(make_bank: Callable[..., Bank], order: int) -> None:
    bank = make_bank(noise=6.0)
    forests = [{**FOREST, "max_features": n} for n in (1, 2, 4, 8)]
    for grid in ([*FAST, *forests][::order], forests, FAST[:1], [{"kind": "svm"}]):
        for seeds in (1, [7], 3):
            train_heads(bank, grid, seeds=seeds)
            assert kept(bank) == {ranked(load_runs(bank))[0].run}


def test_weights_that_are_nobodys_stay(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    """A stranger's bank may have a link to any folder in the place of its runs."""
    bank = make_bank()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "0123456789.head").write_bytes(b"precious")
    (bank.path / "runs").symlink_to(mine)
    runs = train_heads(bank, [{"kind": "ridge", "alpha": [1, 10, 100]}])
    assert (mine / "0123456789.head").read_bytes() == b"precious"
    assert sorted(path.stem for path in mine.glob("*.head")) == sorted(["0123456789", runs[0].run])


def test_a_second_seed_that_lowers_the_first_ones_mean_brings_another_to_the_top(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new first was never first when it was trained: its weights are made again."""
    from featurebank.fitting import parallel as fitting

    bank = make_bank()
    planned = {("random_forest", 0): 0.95, ("random_forest", 1): 0.55, ("knn", 0): 0.90}
    scores = fitting.score

    def told(head: Any, data: Any) -> dict[str, dict[str, Any]]:
        kind = "knn" if "KNeighbors" in repr(head) else "random_forest"
        found = scores(head, data)
        found["val"]["accuracy"] = planned[kind, head.random_state]
        return found

    monkeypatch.setattr(fitting, "score", told)
    assert train_heads(bank, [FOREST])[0].seed == 0
    train_heads(bank, [{"kind": "knn"}])
    assert {run.head for run in load_runs(bank) if run.run in kept(bank)} == {"random_forest"}
    assert train_heads(bank, [FOREST], seeds=[1])[0].failure is None
    first = ranked(load_runs(bank))[0]
    assert first.head == "knn"
    assert kept(bank) == {first.run}


def test_a_head_that_cannot_be_saved_is_noted_and_the_grid_goes_on(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch, no_training: Callable[[], None]
) -> None:
    import sklearn.neighbors

    class Foreign(sklearn.neighbors.KNeighborsClassifier):  # type: ignore[misc]
        """A class that no file may name."""

    monkeypatch.setattr(sklearn.neighbors, "Foreign", Foreign, raising=False)
    bank, listener = make_bank(), Listener()
    grid = [{"kind": "sklearn.neighbors:Foreign"}, {"kind": "knn", "n_neighbors": 1000}]
    runs = train_heads(bank, grid, reporter=listener)
    assert "its weights are not kept" in runs[0].notes[0]
    assert "Foreign" in runs[0].notes[0]
    assert listener.warned == [runs[0].notes[0]]
    assert records(bank)[runs[0].run]["notes"] == list(runs[0].notes)
    assert kept(bank) == set()
    no_training()
    assert train_heads(bank, grid) == runs


def test_runs_of_an_older_state_of_the_bank_are_not_shown(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    old = {run.run for run in train_heads(bank, FAST)}
    items = bank._items
    labels = items.labels.copy()
    labels[0] = (labels[0] + 1) % 3
    with BankWriter(bank.path, bank.recipe, bank.manifest.dataset) as writer:
        writer.finish(Items(items.ids, items.digests, labels, items.splits), bank.taps, (), None)
    changed = Bank(bank.path)
    assert changed.digest != bank.digest
    assert load_runs(changed) == []
    assert {run.run for run in load_runs(changed, stale=True)} == old
    new = {run.run for run in train_heads(changed, FAST)}
    assert new.isdisjoint(old)
    assert {run.run for run in load_runs(changed)} == new


# ---------------------------------------------------------------- processes


def test_a_killed_grid_goes_on_and_repeats_nothing(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    from featurebank.grid import worker as module

    bank = make_bank(noise=4.0)
    grid = [*FAST, {"kind": "svm"}, {"kind": "ridge", "alpha": 1.0}]
    assert run_child(bank, 3, grid).returncode == -signal.SIGKILL
    before = {name: path.stat().st_mtime_ns for name, path in runs_on_disk(bank).items()}
    assert len(before) == 3
    trained: list[tuple[Any, int]] = []
    fit = module.fit_heads

    def spy(specs: Any, *rest: Any) -> None:
        trained.extend(specs)
        fit(specs, *rest)

    monkeypatch.setattr(module, "fit_heads", spy)
    runs = train_heads(bank, grid)
    assert len(runs) == 7
    assert len(trained) == 4
    after = {name: path.stat().st_mtime_ns for name, path in runs_on_disk(bank).items()}
    assert {name: after[name] for name in before} == before, "what was recorded is not written again"
    whole = train_heads(make_bank("whole", noise=4.0), grid)
    assert {run.run: run.metrics for run in runs} == {run.run: run.metrics for run in whole}


def runs_on_disk(bank: Bank) -> dict[str, Path]:
    return {path.stem: path for path in (bank.path / "runs").glob("*.json")}


def test_a_grid_without_neural_heads_never_imports_tensorflow(make_bank: Callable[..., Bank]) -> None:
    grid = [*FAST, {"kind": "xgboost", "n_estimators": 2}, {"kind": "random_forest", "n_estimators": 2}]
    done = run_child(make_bank(), -1, grid)
    assert (done.returncode, done.stdout) == (0, "False False\n"), done.stderr


def test_a_class_without_training_images_is_told(make_bank: Callable[..., Bank]) -> None:
    told: list[str] = []

    class Listener(Reporter):
        def warn(self, line: str) -> None:
            told.append(line)

    bank = make_bank(untrained=(1,))
    runs = train_heads(bank, [{"kind": "nearest_mean"}], reporter=Listener())
    assert told == [f"no training image of class '{bank.classes[1]}': every head misclassifies its images"]
    assert runs[0].metrics["val"]["accuracy"] == pytest.approx(2 / 3)
