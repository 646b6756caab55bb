"""A command without --bank takes the bank that was used last, and says so."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank.bank import Bank

Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def ask(make_bank: Callable[..., Bank], in_process: Ask, tmp_path: Path) -> Ask:
    """Runs a command in a cache of two banks, of which the second was extracted last."""
    for moment, name in enumerate(("first", "second")):
        manifest = make_bank(f"cache/{name}").path / "manifest.json"
        os.utime(manifest, (1e9 + moment, 1e9 + moment))
    return lambda *words, code=0: in_process("--cache", tmp_path / "cache", *words, code=code)


def test_heads_on_a_bank_and_what_follows(ask: Ask, tmp_path: Path) -> None:
    errors = " ".join(ask("heads", "--bank", "first", "--head", "ridge")[1].split())
    assert f"bank: {tmp_path / 'cache' / 'first'} (120 images, 3 classes)" in errors
    out, errors = ask("leaderboard", "--json")
    assert [run["head"] for run in json.loads(out)["runs"]] == ["ridge"]
    assert "(120 images, 3 classes), the last used: by 'heads', just now" in " ".join(errors.split())
    assert "by 'leaderboard', just now" in " ".join(ask("cache", "show", "--json")[1].split())
    assert ask("-q", "leaderboard")[1] == ""


def test_the_bank_that_was_extracted_last_is_taken_at_first(ask: Ask) -> None:
    told = " ".join(ask("heads", "--head", "ridge")[1].split())
    assert "second (120 images, 3 classes), the last used: by 'extract', " in told
    assert " days ago" in told
