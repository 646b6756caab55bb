"""Runs of several banks of the same images: ranked, chosen, tested and found together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank import evaluate_test, leaderboard, select, train_heads
from featurebank.bank import Bank
from featurebank.errors import ConfigError, TestSplitWarning, UnknownNameError, WrongTypeError
from featurebank.runs.selection import find_run
from featurebank.runs.several import as_list, bank_of, runs_of

MakeBank = Callable[..., Bank]


@pytest.fixture
def banks(make_bank: MakeBank) -> list[Bank]:
    """Two banks of the same images; the features of the second one are better."""
    made = [make_bank(name, backbone=name, noise=noise) for name, noise in (("noisy", 6.0), ("clear", 1.0))]
    for bank in made:
        train_heads(bank, ["ridge", "nearest_mean"])
    return made


def test_one_leaderboard_with_tests_across_banks(banks: list[Bank]) -> None:
    board = leaderboard(banks)
    assert len(board) == 4
    entries = board.entries
    assert [entry.bank for entry in entries] == ["clear", "clear", "noisy", "noisy"]
    assert all(entry.p_value is not None for entry in entries[1:]), "the images of both banks are paired"
    assert not entries[-1].indistinguishable
    assert select(banks) == select(board) == board[0]
    assert select(banks[0]).bank_name == "noisy"


def test_runs_are_found_in_any_of_the_banks(banks: list[Bank]) -> None:
    for bank in banks:
        for run in runs_of(bank):
            assert find_run(banks, run.run) == run
            assert bank_of(run, banks) is bank
    with pytest.raises(UnknownNameError, match="unknown run 'zzz'"):
        find_run(banks, "zzz")
    assert [bank.path for bank in as_list([banks[0], Bank(banks[0].path), banks[1]])] == [bank.path for bank in banks]


def test_the_test_images_of_all_banks_are_opened_once(banks: list[Bank]) -> None:
    tested = evaluate_test(select(banks))
    assert tested.metrics["test"]["opened_before"] == 0
    with pytest.warns(TestSplitWarning, match="all 30 test images were opened once before"):
        again = evaluate_test(select(banks[0]))
    assert again.metrics["test"]["opened_before"] == 1


def test_runs_of_unlike_banks_are_refused(banks: list[Bank], make_bank: MakeBank) -> None:
    other = make_bank("other", seed=1)
    runs = train_heads(other, "ridge")
    for refused in (lambda: leaderboard([*banks, other]), lambda: select([*leaderboard(banks), *runs])):
        with pytest.raises(ConfigError, match=r"'other' lacks 120 images \(the first: .*\) of '(noisy|clear)'"):
            refused()
    with pytest.raises(WrongTypeError, match="expected runs alone, or banks alone"):
        select([runs[0], banks[0]])


def test_all_of_names_the_banks_of_the_cache(
    banks: list[Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATUREBANK_CACHE", str(tmp_path))
    assert leaderboard("all-of:made") == leaderboard(banks)
    assert leaderboard(["clear", "noisy"]) == leaderboard(banks)


def test_charts_and_tables_of_notebooks_tell_the_banks_apart(banks: list[Bank]) -> None:
    board = leaderboard(banks)
    chart = board.plot(against="bytes an image").to_dict()
    rows = next(iter(chart["datasets"].values()))
    assert {(row["kind"], row["bytes an image"]) for row in rows} == {("clear", 32.0), ("noisy", 32.0)}
    table = board._repr_html_()
    assert all(f">{word}</" in table for word in ("bank", "clear", "noisy", "images/s"))
    with pytest.raises(ConfigError, match="the seconds an image of 4 heads are not known"):
        board.plot(against="seconds an image")
