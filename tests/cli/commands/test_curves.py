"""`featurebank curves` as people and scripts use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featurebank.bank import Bank
from featurebank.fitting.spec import HeadSpec
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

Answer = tuple[str, str]
CURVES = {
    "loss": [1.0, 0.5, 0.3, 0.2, 0.1], "val_loss": [1.0, 0.6, 0.8, 0.9, 1.2], "accuracy": [0.5] * 5,
    "val_accuracy": [0.5] * 5, "best_epoch": 2,
}  # fmt: skip


@pytest.fixture
def bank(make_bank: Callable[..., Bank]) -> Bank:
    """A bank with two runs that have curves and one that has none."""
    bank = make_bank("cache/photos")
    for run, head, history in (("aa", "mlp", CURVES), ("bb", "softmax", CURVES), ("cc", "ridge", None)):
        result = {"accuracy": 0.5 if history else 0.9, "loss": 1.0, "macro_f1": 0.5, "images": 30}
        revision = HeadSpec(head, {}, "pooled").revision(len(bank.classes))
        RunRecord(
            f"{run}00000000", head, {}, "pooled", 0, 1.0, {"train": result, "val": result}, bank=bank.digest,
            created="", history=history, revision=revision, directory=bank.path,
        ).save()  # fmt: skip
    return bank


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    return partial(in_process, "--cache", tmp_path / "cache", "curves")


def test_all_runs_with_curves(ask: Callable[..., Answer], bank: Bank, tmp_path: Path) -> None:
    output, said = ask("all", "-o", tmp_path / "{run}.json", "-o", tmp_path / "all.svg")
    assert "2 of 2 runs over-fit: their validation loss rises again" in output
    assert output.count("written: ") == 3
    assert output.count("pooled") == 2
    assert "1 run without curves left out" in said
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["aa00000000.json", "all.svg", "bb00000000.json"]


def test_json(ask: Callable[..., Answer], bank: Bank) -> None:
    found = json.loads(ask("bb", "aa", "bb", "--json")[0])
    assert [run["run"] for run in found["runs"]] == ["bb00000000", "aa00000000"]
    assert found["runs"][0]["history"]["val_loss"] == CURVES["val_loss"]
    assert found["runs"][0]["over_fitting"] == [2, 5]
    assert found["files"] == []


def test_mistakes_are_one_line(ask: Callable[..., Answer], bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for words, line in (
        (
            ["best"],
            "Error: run cc00000000 (ridge) has no curves, because this kind of head is not trained in epochs; name "
            "other runs, or 'all' for each run that has curves",
        ),
        (["dd"], "Error: unknown run 'dd'"),
        (["aa", "-o", tmp_path / "a.png"], f"Error: '{tmp_path / 'a.png'}' exists: choose another path"),
        (
            ["aa", "-o", tmp_path / "gone" / "a.png"],
            f"Error: cannot write '{tmp_path / 'gone' / 'a.png'}'",
        ),
    ):
        output, errors = ask(*words, code=1)
        assert output == ""
        assert errors.splitlines()[-1].startswith(line)
    for run in ("aa", "bb"):
        (bank.path / "runs" / f"{run}00000000.json").unlink()
    _, errors = ask("all", code=1)
    assert "Error: bank 'photos' has 1 run, none with curves: only heads" in errors
