"""The leaderboard as people and scripts see it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import evaluate_test, leaderboard, train_heads
from featurebank.bank import Bank
from featurebank.cli import tables
from featurebank.metrics import METRICS
from featurebank.metrics.metric import averaged
from featurebank.runs.run import RunRecord

pytestmark = pytest.mark.heavy

Ask = Callable[..., tuple[str, str]]
GRID: list[dict[str, Any]] = [
    {"kind": "knn", "n_neighbors": 1},
    {"kind": "ridge"},
    {"kind": "nearest_mean"},
    {"kind": "random_forest", "n_estimators": 5},
]


@pytest.fixture
def bank(make_bank: Callable[..., Bank]) -> Bank:
    bank = make_bank(noise=4.0)
    train_heads(bank, [*GRID, {"kind": "knn", "n_neighbors": 10_000}], seeds=3)
    return bank


@pytest.fixture
def ask(bank: Bank, in_process: Ask) -> Ask:
    """Runs a command on the bank in this process; returns its two outputs."""

    def run(command: str, *words: object, code: int = 0) -> tuple[str, str]:
        return in_process(command, "--bank", bank.path, *words, code=code)

    return run


def on_folds(run: RunRecord, index: int) -> RunRecord:
    return replace(run, run=f"{run.run}f{index}", fold=(index, 2, 0), created="2030-01-01T00:00:00Z")


def test_a_line_for_each_specification(bank: Bank, ask: Ask) -> None:
    text = ask("leaderboard")[0]
    forest = next(line for line in text.splitlines() if "random_forest" in line)
    entry = next(entry for entry in leaderboard(bank).entries if entry.spec.kind == "random_forest")
    assert f"{entry.mean:.4f} ± {entry.std:.4f}" in forest
    assert "3 seeds" in forest
    assert entry.verdict in forest
    chosen = [line for line in text.splitlines() if line.strip().startswith("*=")]
    assert len(chosen) == 1
    assert sum(line.strip().startswith("= ") for line in text.splitlines()) >= 1
    alike = sum(entry.indistinguishable for entry in leaderboard(bank).entries) - 1
    assert (
        f"= {alike} of 3 other heads {'does' if alike == 1 else 'do'} not differ significantly from the first" in text
    )
    assert "failed: " in text
    assert "knn(" in text


def test_json_has_entries_beside_the_runs(bank: Bank, ask: Ask) -> None:
    found = json.loads(ask("leaderboard", "--json")[0])
    assert len(found["runs"]) == 7
    assert len(found["entries"]) == 4
    assert found["best"] == found["entries"][0]["runs"][0] == found["runs"][0]["run"]
    entry = found["entries"][1]
    assert {"accuracy", "std", "accuracy_interval", "gap", "verdict", "p_value", "indistinguishable"} <= set(entry)
    metrics = found["runs"][0]["metrics"]
    assert {"top5_accuracy", "brier", "calibration_error", "recall", "images"} <= set(metrics["val"])
    assert set(metrics["train"]) == {"accuracy", "loss", "macro_f1"}


def test_more_lines_than_are_shown(ask: Ask) -> None:
    text = ask("leaderboard", "--top", 2)[0]
    assert "and 2 more: featurebank leaderboard --bank bank --top 4" in text


@pytest.mark.parametrize("key", ["loss", "seconds", "gap", "macro_f1", "accuracy"])
def test_lines_are_sorted(bank: Bank, ask: Ask, key: str) -> None:
    found = json.loads(ask("leaderboard", "--json", "--sort", key)[0])
    lines = {entry.runs[0].run: entry for entry in leaderboard(bank).entries}
    entries = [lines[entry["runs"][0]] for entry in found["entries"]]
    value = {
        "accuracy": lambda e: -e.mean,
        "macro_f1": lambda e: -e.score("macro_f1"),
        "loss": lambda e: e.score("loss"),
    }
    sort = value.get(key, lambda e: getattr(e, key))
    assert [sort(entry) for entry in entries] == sorted(map(sort, entries))


def test_csv_has_every_metric(bank: Bank, ask: Ask, tmp_path: Path) -> None:
    ask("leaderboard", "--csv", tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["run"] for row in rows] == [run.run for run in leaderboard(bank)]
    run = leaderboard(bank)[0]
    for name, value in run.metrics["val"].items():
        assert json.loads(rows[0][f"val_{name}"]) == value
    assert json.loads(rows[0]["params"]) == run.params
    assert rows[-1]["failure"]
    assert not any("test" in name for name in rows[0])
    forest = next(row for row in rows if row["head"] == "random_forest")
    assert (forest["param_n_estimators"], rows[0]["param_n_estimators"]) == ("5", "")


def test_csv_has_the_test_of_the_run_that_was_opened(bank: Bank, ask: Ask, tmp_path: Path) -> None:
    test = evaluate_test(bank, leaderboard(bank)[1]).metrics["test"]
    ask("leaderboard", "--csv", tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = [(row["test_loss"], row["test_accuracy"]) for row in rows]
    assert told == [("", ""), (str(test["loss"]), str(test["accuracy"])), *[("", "")] * (len(rows) - 2)]


def test_a_name_of_a_head_is_shown_everywhere(bank: Bank, ask: Ask, tmp_path: Path) -> None:
    """It is given to a head that was trained before, and is kept when a grid does not say it again."""
    before = {run.run for run in leaderboard(bank)}
    (tmp_path / "grid.toml").write_text('[[head]]\nkind = "ridge"\nname = "=model 7"\n')
    ask("heads", "--grid", tmp_path / "grid.toml")
    ask("heads", "--head", "ridge")
    assert {run.run for run in leaderboard(bank)} == before
    assert "  =model 7" in ask("leaderboard")[0]
    found = json.loads(ask("leaderboard", "--json")[0])
    assert {run["head"] for run in found["runs"] if run.get("name") == "=model 7"} == {"ridge"}
    assert {entry["head"] for entry in found["entries"] if entry.get("name") == "=model 7"} == {"ridge"}
    ask("leaderboard", "--csv", tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert {row["head"] for row in csv.DictReader(file) if row["name"] == "'=model 7"} == {"ridge"}


def test_the_chosen_line_names_the_tap_and_the_folds(bank: Bank, ask: Ask) -> None:
    own = next(run for run in leaderboard(bank) if run.head == "ridge")
    assert f"{leaderboard(bank)[0].spec} on pooled  validation accuracy" in ask("leaderboard")[0]
    for index, accuracy in enumerate((0.2, 0.4)):
        val = {**own.metrics["val"], "accuracy": accuracy}
        replace(on_folds(own, index), metrics={**own.metrics, "val": val}).save()
    text = " ".join(ask("leaderboard")[0].split())
    assert (
        f"on pooled accuracy 0.3000 ± 0.1414 on 2 folds (validation accuracy {own.metrics['val']['accuracy']:.4f} "
        in text
    )


def test_the_simplest_on_request(bank: Bank, ask: Ask) -> None:
    lucky = next(run for run in leaderboard(bank) if run.head == "knn" and not run.failure)
    replace(lucky, metrics={**lucky.metrics, "val": {**lucky.metrics["val"], "accuracy": 0.82}}).save()
    plain, simple = (json.loads(ask("leaderboard", "--json", *words)[0]) for words in ((), ("--one-se",)))
    kinds = {run["run"]: run["head"] for run in simple["runs"]}
    assert (kinds[plain["best"]], kinds[simple["best"]]) == ("knn", "nearest_mean")
    assert simple["runs"] == plain["runs"]


def test_folds_have_a_leaderboard_of_their_own(bank: Bank, ask: Ask) -> None:
    runs = [run for run in leaderboard(bank) if run.head == "ridge"]
    for run in [on_folds(runs[0], index) for index in range(2)]:
        run.save()
    found = json.loads(ask("leaderboard", "--json")[0])
    assert [run["head"] for run in found["runs"]] == ["ridge"] * 3
    assert found["best"] == runs[0].run, "the one that was trained without folds"
    assert [entry["folds"] for entry in found["entries"]] == [2]
    assert "2, 2 folds" in ask("leaderboard")[0]
    assert len(json.loads(ask("leaderboard", "--json", "--folds", 1)[0])["entries"]) == 4
    assert "no run was evaluated on 7 folds" in ask("leaderboard", "--folds", 7, code=1)[1]


def test_another_look_at_the_test_split_is_told(bank: Bank, ask: Ask) -> None:
    evaluate_test(bank, leaderboard(bank)[1])
    out, errors = ask("leaderboard", "--test")
    assert "all 30 test images were opened once before" in " ".join(errors.split())
    assert "evaluated 20" in out
    assert "after 1 other evaluation" in out
    assert "opened" not in ask("leaderboard", "--test")[1], "it was not opened again"


@pytest.mark.parametrize(("width", "columns"), [(160, {"train acc", "val acc"}), (80, {"val acc"})])
def test_a_narrow_terminal_does_without_some_columns(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, width: int, columns: set[str]
) -> None:
    monkeypatch.setattr(tables, "_WIDTH", width)
    lines = ask("leaderboard")[0].splitlines()
    assert {name for name in ("train acc", "val acc") if name in lines[1]} == columns
    assert " tap " in lines[1]
    assert any(line.strip().startswith("*= ") and "nearest_mean" in line for line in lines), "the name is not broken"


def test_tensorboard(bank: Bank, ask: Ask, tmp_path: Path) -> None:
    ask("leaderboard", "--tensorboard", tmp_path / "logs")
    assert len(list((tmp_path / "logs").rglob("*tfevents*"))) == 6


def test_a_calibrated_head_by_its_parameter(ask: Ask) -> None:
    words = ("--head", "nearest_mean", "-p", "calibrate=temperature", "--json")
    (run,) = json.loads(ask("heads", *words)[0])["runs"]
    assert run["params"]["calibrate"] == "temperature"
    assert "expected 'temperature'" in ask("heads", "--head", "ridge", "-p", "calibrate=magic", code=1)[1]


def test_the_first_columns_and_the_marks_are_those_of_the_metric(
    make_bank: Callable[..., Bank], in_process: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of the table of metrics is enough for a column, an interval, a rank and the JSON."""
    made = averaged("made", lambda images: images.confidence, larger_is_better=False)
    monkeypatch.setitem(METRICS, "made", made)
    bank = make_bank(noise=4.0)
    out, _ = in_process("heads", "--bank", bank.path, "--grid", "quick", "--metric", "made", "--json")
    found = json.loads(out)
    values = [entry["value"] for entry in found["entries"]]
    assert values == sorted(values)
    assert (found["metric"], found["best"]) == ("made", found["entries"][0]["runs"][0])
    out, _ = in_process("leaderboard", "--bank", bank.path, "--metric", "made")
    assert {"made", "interval", "acc"} <= set(out.split())
    low, high = found["entries"][0]["value_interval"]
    assert {f"{values[0]:.4f}", f"{low:.3f}-{high:.3f}"} <= set(out.split())
    assert f"validation made {values[0]:.4f}, accuracy" in out
    assert "a paired bootstrap, 5 %" in out
    _, errors = in_process("leaderboard", "--bank", bank.path, "--metric", "recall:nobody", code=1)
    assert "unknown class 'nobody'" in errors


@given(
    st.text(alphabet="ab_(,=:+ ", min_size=1, max_size=60).map(str.strip), st.integers(4, 40)
)  # fmt: skip
def test_no_text_is_lost_in_lines_that_fit(text: str, width: int) -> None:
    lines = tables.folded(text, width).split("\n")
    assert max(map(len, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize("width", [80, 120])
def test_no_word_of_a_long_tap_is_cut_on_a_narrow_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_WIDTH", width)
    tap = "block6a_expand_activation:avg"
    cells = {
        "  run": [" *= 0123456789"], "head": ["kernel_ridge(alpha=0.3, max_images=5000)"], "tap": [tap],
        "bank": ["lite0 bfloat16"], "val acc": ["0.5385"], "s/image": ["0.014"], "images/s": ["248"],
    }  # fmt: skip
    fitting = tables.fitting_cells(cells, "head", "tap", ["s/image"])
    assert {"  run", "bank", "val acc", "images/s"} <= set(fitting)
    lines = fitting["tap" if width == 120 else "head, tap"][0].split("\n")
    assert [line.strip() for line in lines][-2:] == ([tap] if width == 120 else ["block6a_expand_", "activation:avg"])
    widths = [3 + max(map(len, (name, *column[0].split("\n")))) for name, column in fitting.items()]
    assert sum(widths) <= width + 3
