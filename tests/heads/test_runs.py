"""Runs: their ids, their files, their words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from featurebank.heads.runs import HeadSpec, Run, load_runs, run_id


class FakeBank:
    """As much of a bank as an id needs."""

    def __init__(self, digest: str = "0" * 32, path: Path = Path()) -> None:
        self.digest, self.path = digest, path


def make_run(
    name: str, accuracy: float = 0.5, loss: float = 1.0, seconds: float = 1.0, seed: int = 0, **more: Any
) -> Run:
    metrics = {"val": {"accuracy": accuracy, "loss": loss}, "train": {}}
    options: dict[str, Any] = {"head": "knn", "params": {"name": name}, "tap": "pooled", "metrics": metrics} | more
    return Run(run=f"{name}{seed}", seed=seed, seconds=seconds, bank="0" * 32, created="", **options)


def test_ids_are_golden() -> None:
    """Who changes these makes every recorded run be trained again."""
    bank: Any = FakeBank()
    assert run_id(HeadSpec("softmax", {"learning_rate": 0.01, "l2": 0.0}), 0, bank) == "ac0c6d1cdf"
    assert run_id(HeadSpec("knn", {}, "map"), 3, bank) == "b0f787dea1"


def test_runs_of_a_rule_that_was_mended_are_left_out(tmp_path: Path) -> None:
    bank: Any = FakeBank(path=tmp_path)
    old = make_run("a", head="svm", params={"kernel": "linear"}, directory=tmp_path)
    new = make_run("b", head="svm", params={"kernel": "linear"}, directory=tmp_path, revision=2)
    other = make_run("c", head="svm", params={"kernel": "rbf"}, directory=tmp_path)
    for run in (old, new, other):
        run.save()
    assert load_runs(bank) == [new, other]
    assert run_id(HeadSpec("svm", {"kernel": "linear"}), 0, bank) == "f9d2f216d8", "not that of the old rule"


def test_the_order_of_parameters_does_not_matter_and_all_else_does() -> None:
    bank: Any = FakeBank()
    spec = HeadSpec("mlp", {"a": 1, "b": [2, 3]})
    assert run_id(HeadSpec("mlp", {"b": [2, 3], "a": 1}), 0, bank) == run_id(spec, 0, bank)
    other: Any = FakeBank("1" * 32)
    different = {
        run_id(spec, 0, bank),
        run_id(spec, 1, bank),
        run_id(spec, 0, other),
        run_id(HeadSpec("softmax", spec.params), 0, bank),
        run_id(HeadSpec("mlp", spec.params, "map"), 0, bank),
        run_id(HeadSpec("mlp", {"a": 1, "b": [3, 2]}), 0, bank),
        run_id(HeadSpec("mlp", {"a": 1.0, "b": [2, 3]}), 0, bank),  # max_features=1 is one feature, 1.0 all of them
    }
    assert len(different) == 7


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = make_run("a", notes=("careful",), history={"loss": [1.0, None]}, tested="2026-01-01", directory=tmp_path)
    run.save()
    bank: Any = FakeBank(path=tmp_path)
    assert load_runs(bank) == [run]
    assert load_runs(bank)[0].saved_path == tmp_path / "runs" / "a0.head"


def test_what_is_no_run_is_left_out(tmp_path: Path) -> None:
    make_run("a", directory=tmp_path).save()
    folder = tmp_path / "runs"
    record = json.loads((folder / "a0.json").read_text())
    (folder / "b.json").write_text((folder / "a0.json").read_text()[:50])
    (folder / "c.json").write_text("[]")
    (folder / "d.json").write_text(json.dumps({"run": "d"}))
    (folder / "e.json").write_text(json.dumps({**record, "unheard": 1}))
    (folder / "f.json").write_bytes(b"\xff\xfe")
    (folder / "g.json").write_text("null")
    bank: Any = FakeBank(path=tmp_path)
    assert [run.run for run in load_runs(bank)] == ["a0"]


def test_runs_of_another_state_are_stale(tmp_path: Path) -> None:
    make_run("a", directory=tmp_path).save()
    changed: Any = FakeBank("1" * 32, tmp_path)
    assert load_runs(changed) == []
    assert [run.run for run in load_runs(changed, stale=True)] == ["a0"]


def test_a_summary_tells_a_failure() -> None:
    assert "failure" not in make_run("a").summary()
    assert make_run("a", failure="no", metrics={}).summary()["failure"] == "no"


@pytest.mark.parametrize(
    ("params", "text"),
    [({}, "knn"), ({"C": 0.001, "a": [1, 2], "max_iter": 9}, "knn(C=0.001, a=[1,2])"), ({"p": None}, "knn(p=None)")],
)
def test_a_specification_in_words(params: dict[str, Any], text: str) -> None:
    assert str(HeadSpec("knn", params)) == text
