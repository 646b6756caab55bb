"""`featurebank similar` as people and scripts use it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from featurebank.bank import Bank

pytestmark = pytest.mark.heavy

Answer = tuple[str, str]


@pytest.fixture
def ask(tmp_path: Path, in_process: Callable[..., Answer]) -> Callable[..., Answer]:
    """Runs the command in this process, with the cache of this test; returns both outputs."""
    return partial(in_process, "--cache", tmp_path / "cache", "similar")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_list_for_people(
    ask: Callable[..., Answer], leaky_bank: Bank, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    output, said = ask("test/bee/same.png", "train/ant/near.png", "--top", 3)
    lines = output.splitlines()
    assert lines[0] == "test/bee/same.png (bee, test)"
    assert lines[1].startswith(("2 of the 2", "Both most", "1 of the 2"))
    assert "the same image" in output
    assert lines[-1].endswith("have the most frequent label of their neighbours.")
    assert max(map(len, lines)) <= columns
    assert f"bank: {leaky_bank.path}" in said


def test_json_and_a_page(ask: Callable[..., Answer], leaky: Path, leaky_bank: Bank, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    output, _ = ask(leaky / "train" / "ant" / "near.png", "--top", 2, "--json", "-o", page)
    found = json.loads(output)
    assert found["bank"] == str(leaky_bank.path)
    assert found["page"] == str(page)
    (image,) = found["images"]
    assert image["id"] == "train/ant/near.png"
    assert image["neighbours"][0] == {
        "id": "test/ant/nearly.png", "label": "ant", "split": "test", "cosine": image["neighbours"][0]["cosine"],
        "path": str(leaky / "test" / "ant" / "nearly.png"), "copy": False,
    }  # fmt: skip
    assert image["neighbours"][0]["cosine"] > 0.999
    assert page.read_text(encoding="utf-8").count("<img") == 3
    _, errors = ask("train/ant/near.png", "-o", page, code=1)
    assert errors.splitlines()[-1].startswith(
        f"Error: '{page}' exists: choose another path, or replace it with --force"
    )
    output, _ = ask("train/ant/near.png", "-o", page, "--force")
    assert output.endswith(f"page: {page}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["neer.png"], "Error: unknown image 'neer.png'"),
        (["train/ant/near.png", "--top", "0"], "Error: --top is 0: expected a whole number of 1 or more"),
        (["train/ant/near.png", "-o", "gone/p.html"], "Error: cannot write 'gone/p.html': there is no folder 'gone'"),
        (["train/ant/near.png", "-o", "p.png"], "Error: cannot write 'p.png': expected a name that ends with .html"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(ask: Callable[..., Answer], leaky_bank: Bank, words: list[str], line: str) -> None:
    output, errors = ask(*words, code=2 if "--top" in words else 1)
    assert output == ""
    assert errors.splitlines()[-1].startswith(line)
