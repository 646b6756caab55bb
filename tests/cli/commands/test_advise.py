"""`featurebank advise` as people and scripts use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featurebank.bank import Bank
from featurebank.cli.advice_view import next_step

pytestmark = pytest.mark.heavy

Answer = tuple[str, str]


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    return partial(in_process, "--cache", tmp_path / "cache", "advise")


@pytest.mark.parametrize("columns", [80, 120])
def test_sentences_then_tables(
    ask: Callable[..., Answer], make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    bank = make_bank("cache/made", splits=(120, 0, 0), noise=2.4)
    output, said = ask("--top", 3)
    lines = output.splitlines()
    assert lines[0].startswith("- ")
    assert "what more images would bring, in points:" in lines
    assert "classes that are mixed up:" in lines
    assert max(len(line) for line in lines if not line.startswith(("- ", "  "))) <= columns
    assert f"bank: {bank.path}" in said


def test_json_page_and_csv(ask: Callable[..., Answer], leaky_bank: Bank, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "doubts.csv"
    advice = json.loads(ask("--json", "-o", page, "--csv", table)[0])
    assert advice["bank"] == str(leaky_bank.path)
    assert (advice["page"], advice["csv"]) == (str(page), str(table))
    assert advice["conflicts"][0]["path"] == "train/ant/same.png"
    assert table.read_text().startswith("path,label,")
    assert "exists" in ask("--csv", table, code=1)[1]
    assert "name their folder with --unlabelled" in ask("--queue", tmp_path / "queue.csv", code=1)[1]


def test_the_queue_is_a_file_of_its_own(ask: Callable[..., Answer], leaky_bank: Bank, photos: Path) -> None:
    queue, doubts = photos.parent / "queue.csv", photos.parent / "doubts.csv"
    advice = json.loads(ask("--unlabelled", photos, "--label", 3, "--queue", queue, "--csv", doubts, "--json")[0])
    assert advice["queue_csv"] == str(queue)
    lines = queue.read_text().splitlines()
    assert lines[0] == "path,label,margin,predicted,group"
    assert len(lines) == 1 + len(advice["queue"])
    assert doubts.read_text().startswith("path,label,suggested")


def test_corrections_are_shown_then_applied(
    ask: Callable[..., Answer], in_process: Callable[..., Answer], leaky_bank: Bank, tmp_path: Path
) -> None:
    file = tmp_path / "edited.csv"
    file.write_text("path,label\ntest/bee/same.png,ant\ntrain/ant/0.png,ant\n")
    shown = ask("--apply", file, "--dry-run")[0]
    assert "1 label would change, 1 as before" in shown
    assert "1 test label changes" in shown
    assert Bank(leaky_bank.path).digest == leaky_bank.digest
    done = json.loads(ask("--apply", file, "--json")[0])
    assert done["applied"]
    assert done["changes"] == [{"path": "test/bee/same.png", "was": "bee", "label": "ant", "split": "test"}]
    bank = Bank(leaky_bank.path)
    assert bank.classes[bank.labels()[bank.position("test/bee/same.png")]] == "ant"
    assert ask("--apply", file)[0].startswith("nothing to change: 2 rows")
    history = in_process("--cache", tmp_path / "cache", "cache", "show")[0]
    assert "1 image relabelled by 'advise --apply'" in history


def test_problems_have_a_line_each(ask: Callable[..., Answer], leaky_bank: Bank, tmp_path: Path) -> None:
    file = tmp_path / "edited.csv"
    file.write_text("path,label\nant.png,ant\ntrain/ant/0.png,wasp\n")
    errors = [line for line in ask("--apply", file, code=1)[1].splitlines() if f"'{file}': line" in line]
    assert len(errors) == 2
    assert "requires --apply" in ask("--dry-run", code=2)[1]
    one = tmp_path / "one.csv"
    assert "name two files" in ask("--csv", one, "--queue", tmp_path / "." / "one.csv", code=2)[1]
    assert "unknown tap ''" in ask("--tap", "", code=1)[1]
    assert "--apply only relabels" in ask("--apply", file, "--top", 3, code=2)[1]


@pytest.mark.parametrize(
    ("csv", "bank", "expected"),
    [
        ("a.csv", None, "next: correct the column 'label' of a.csv, then 'featurebank advise --apply a.csv'"),
        ("a.csv", "b", "next: correct the column 'label' of a.csv, then 'featurebank advise --bank b --apply a.csv'"),
        (None, "b", "next: 'featurebank advise --bank b --csv doubts.csv', correct the column 'label' of doubts.csv"),
    ],
)
def test_the_next_step_names_the_file_and_the_bank(csv: str | None, bank: str | None, expected: str) -> None:
    assert next_step(csv and Path(csv), bank).startswith(expected)
