"""`featurebank heads` with what it takes to search, to judge on folds and to end in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurebank.bank import Bank

pytestmark = pytest.mark.heavy

Ask = Callable[..., Any]
GRID = '[[head]]\nkind = "knn"\nn_neighbors = [1, 3, 5, 7]\n'


@pytest.fixture
def ask(tmp_path: Path, make_bank: Callable[..., Bank], in_process: Ask, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs `heads` on a bank in this process; returns its JSON, or its standard error where it fails."""
    bank = make_bank(noise=4.0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(GRID)

    def run(*words: object, code: int = 0) -> Any:
        out, errors = in_process("heads", "--bank", bank.path, *words, "--json", code=code)
        return errors if code else json.loads(out)

    return run


def test_random_search_on_folds_within_a_budget(ask: Ask) -> None:
    wanted = ("--grid", "grid.toml", "--search", "random", "--runs", 2, "--folds", 3, "--repeats", 2, "--budget", 60)
    found = ask(*wanted)
    assert len(found["runs"]) == 2 * 3 * 2 + 1
    assert len({run["params"]["n_neighbors"] for run in found["runs"]}) == 2
    assert ask(*wanted)["runs"] == found["runs"]


def test_a_race(ask: Ask) -> None:
    found = ask("--grid", "grid.toml", "--search", "halving")
    assert len(found["runs"]) == 4, "heads without epochs do not race"


def test_several_kinds_are_trained_each_with_the_parameters(ask: Ask) -> None:
    found = ask("--head", "knn", "--head", "nearest_mean", "-p", "standardize=true")
    assert {run["head"] for run in found["runs"]} == {"knn", "nearest_mean"}
    assert [run["params"]["standardize"] for run in found["runs"]] == [True, True]


def test_failed_runs_again(ask: Ask) -> None:
    words = ("--head", "knn", "-p", "n_neighbors=1000")
    assert "the only run failed" in ask(*words, code=1)
    assert "1 to train" in ask(*words, "--retry-failed", code=1)
    assert "0 to train" in ask(*words, code=1)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--search", "best"), 2, "'best' is not one of"),
        (("--search", "random"), 1, "search 'random' needs --runs N"),
        (("--runs", 3), 1, "runs is 3, but search is 'all'"),
        (("--folds", 1), 2, "--folds is 1: expected a whole number of 2 or more"),
        (("--repeats", 2), 1, "repeats is 2, but folds is not set"),
        (("--budget", 0), 2, "--budget is 0.0: expected a number of seconds above 0"),
        (("--folds", 1000), 1, "1000 folds need at least 1000 different training and validation images"),
        (("--budget", 1e-6), 1, "too short for any of the 4 runs"),
    ],
)
def test_options_that_cannot_be(ask: Ask, words: tuple[object, ...], code: int, told: str) -> None:
    errors = ask("--grid", "grid.toml", *words, code=code)
    assert told in errors
    assert "Traceback" not in errors


def test_a_wrong_grid_file_is_a_line_a_problem_with_its_place(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('[[head]]\nkind = "knn"\nn_neighbours = 3\n\n[[head]]\nkind = "sofmax"\n')
    lines = [line for line in ask("--grid", "wrong.toml", code=1).splitlines() if "wrong.toml:" in line]
    assert lines == [
        "Error: wrong.toml:3: unknown parameter of head 'knn' 'n_neighbours': did you mean 'n_neighbors'?",
        "wrong.toml:6: unknown head 'sofmax': did you mean 'softmax'? Or the import path of a classifier, as "
        "sklearn.svm:LinearSVC",
    ]


def test_folds_are_a_number_or_given(ask: Ask, in_process: Ask) -> None:
    assert "defines no folds: expected folders fold1, fold2, " in ask("--head", "knn", "--folds", "given", code=1)
    for words, value in (("1", "1"), ("-3", "'-3'"), ("all", "'all'")):
        told = f"--folds is {value}: expected a whole number of 2 or more, such as 5, or 'given'"
        assert told in ask("--head", "knn", "--folds", words, code=2)
    errors = in_process("leaderboard", "--folds", "0", code=2)[1]
    assert "'0': expected a whole number of 1 or more" in errors


def test_kinds_and_parameters_are_listed_without_a_bank(in_process: Ask) -> None:
    out, _ = in_process("heads", "--list")
    assert "softmax" in out
    assert "maps at a cut" in out
    out, _ = in_process("heads", "--list", "mlp")
    assert "hidden_units = 256\n    the width of each hidden layer" in out
    found = json.loads(in_process("heads", "--list", "svm", "--json")[0])
    assert {"name": "C", "default": 10.0, "meaning": "the penalty of a margin that is not kept."} in found["parameters"]
    assert {kind["name"] for kind in json.loads(in_process("heads", "--list", "--json")[0])} >= {"mlp", "xgboost"}
    _, errors = in_process("heads", "--list", "mpl", code=1)
    assert "did you mean 'mlp'" in errors


def test_widths_are_numbers_with_commas(ask: Ask) -> None:
    found = ask("--head", "mlp", "-p", "hidden_units=8,4", "-p", "epochs=1")
    assert found["runs"][0]["params"]["hidden_units"] == [8, 4]
    errors = ask("--head", "mlp", "-p", "hidden_units=8;4", code=1)
    assert errors.count("\n") <= 2
    assert "hidden_units is '8;4', expected whole numbers of 1 or more" in errors
