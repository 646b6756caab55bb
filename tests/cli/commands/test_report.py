"""`featurebank report` as people and scripts use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featurebank import train_heads
from featurebank.bank import Bank

Answer = tuple[str, str]


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    return partial(in_process, "--cache", tmp_path)


@pytest.fixture
def banks(make_bank: Callable[..., Bank]) -> list[Bank]:
    made = [make_bank("one"), make_bank("other", noise=3.0)]
    for bank in made:
        train_heads(bank, [{"kind": "ridge"}])
    return made


def test_the_path_is_the_last_line(ask: Callable[..., Answer], banks: list[Bank], tmp_path: Path) -> None:
    output, _ = ask("report", "--bank", "one", "--bank", "other", "-o", tmp_path / "page.html")
    assert output.startswith(f"report on 2 banks: {tmp_path / 'page.html'} (1.")


def test_json_names_the_page(ask: Callable[..., Answer], banks: list[Bank], tmp_path: Path) -> None:
    output, _ = ask("report", "--bank", "one", "-o", tmp_path / "page.html", "--json")
    answer = json.loads(output)
    assert answer["report"] == str(tmp_path / "page.html")
    assert answer["bytes"] == (tmp_path / "page.html").stat().st_size
    assert (answer["banks"], answer["written"]) == (["one"], True)


def test_the_last_used_bank_is_reported_on(
    ask: Callable[..., Answer], banks: list[Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, errors = ask("report")
    assert "the last used" in errors
    assert (tmp_path / "report.html").is_file()
