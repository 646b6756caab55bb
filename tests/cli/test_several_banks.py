"""Commands on all banks of a dataset: one table, its columns, and what is said beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank import find_bank, train_heads
from featurebank.bank import Bank
from featurebank.bank.writer import BankWriter
from featurebank.cli import tables

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def cache(make_bank: Callable[..., Bank], tmp_path: Path) -> Path:
    """A cache with two banks of one dataset, which were extracted by one pass each, and a bank of another one."""
    for name, noise, seconds in (("noisy", 6.0, 12.0), ("clear", 1.0, 60.0)):
        bank = make_bank(f"cache/{name}", backbone=name, noise=noise)
        with BankWriter(bank.path, bank.recipe, bank.manifest.dataset) as writer:
            writer.note({"time": name, "added": 120, "computed": 120, "seconds": seconds})
    make_bank("cache/strange", dataset="strange", seed=3)
    return tmp_path / "cache"


@pytest.fixture
def ask(cache: Path, in_process: Ask) -> Ask:
    return lambda *words, code=0: in_process("--cache", cache, *words, code=code)


def test_training_and_ranking_on_all_banks_of_a_dataset(cache: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    out, errors = ask("heads", "--bank", "all-of:made", "--head", "ridge")
    assert "2 banks of made (120 images): clear, noisy" in errors
    header = next(line for line in out.splitlines() if "val acc" in line)
    assert [name for name in ("bank", "s/image", "bytes/image", "images/s") if name in header] == [
        "bank", "s/image", "bytes/image", "images/s",
    ]  # fmt: skip
    assert " tap " not in header
    assert "common to these rows: tap pooled" in out
    assert "images/s: recorded by the extraction of each bank" in out
    first = next(line for line in out.splitlines() if line.startswith(" *="))
    assert first.split()[2:5] == ["ridge", "clear", first.split()[4]]
    assert first.split()[-3:] == ["0.5", "32", "2"]
    assert find_bank(cache).name == "clear", "the next command works on the bank of the best run"
    monkeypatch.setattr(tables, "_WIDTH", 80)
    narrow = ask("leaderboard", "--all")[0]
    assert max(map(len, narrow.splitlines()[:6])) <= 80
    assert {"bank", "images/s"} <= set(next(line for line in narrow.splitlines() if "val acc" in line).split())


def test_json_and_csv_have_everything(cache: Path, ask: Ask, tmp_path: Path) -> None:
    found = json.loads(ask("heads", "--bank", "all-of:made", "--head", "ridge", "--json")[0])
    entry = found["entries"][0]
    assert (entry["bank"], entry["seconds_per_image"], entry["bytes_per_image"]) == ("clear", 0.5, 32)
    assert (entry["images_per_second"], entry["images_per_second_from"]) == (2.0, "extraction")
    assert {run["bank"] for run in found["runs"]} == {"clear", "noisy"}
    ask("leaderboard", "--bank", "all-of:made", "--csv", tmp_path / "board.csv")
    with (tmp_path / "board.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["bank"], row["bytes_per_image"]) for row in rows] == [("clear", "32"), ("noisy", "32")]


def test_what_has_no_run_is_said(cache: Path, ask: Ask) -> None:
    train_heads(cache / "clear", "ridge")
    assert "without a run of this protocol: noisy" in ask("leaderboard", "--bank", "all-of:made")[1]


def test_test_images_are_opened_for_the_best_of_all(ask: Ask) -> None:
    ask("heads", "--bank", "all-of:made", "--head", "ridge")
    found = json.loads(ask("leaderboard", "--bank", "all-of:made", "--test", "--json")[0])
    tested = [run for run in found["runs"] if "test" in run["metrics"]]
    assert [(run["run"], run["bank"]) for run in tested] == [(found["best"], "clear")]


def test_a_command_on_one_bank_refuses_in_one_line(ask: Ask) -> None:
    errors = ask("curves", "best", "--bank", "all-of:made", code=1)[1]
    assert "'all-of:made' names several banks, but one bank is expected here" in errors
