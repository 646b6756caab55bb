"""Numbers in sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from featurebank.words import counted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, "run"), "0 runs"),
        ((1, "run"), "1 run"),
        ((2, "run"), "2 runs"),
        ((2, "class"), "2 classes"),
        ((2, "image is", "images are"), "2 images are"),
    ],
)
def test_a_number_with_its_noun(words: tuple[int, str], text: str) -> None:
    assert counted(*words) == text


PACKAGE = Path(__file__).resolve().parents[1] / "featurebank"
PLURAL = re.compile(
    r" (?:(?:more|other|training|validation|test|sample|different|distinct) )?"
    r"(?:images|rows|runs|heads|classes|files|banks|views|shards|ids|seeds|epochs|steps|phases|pairs|folds|layers"
    r"|features|columns|numbers|fields)\b(?!/)"
)
AT_MOST = ("at most ", " to ", "or more ")
"""A number after these is a limit, of which no one is to be expected."""
SCIKIT_LEARN = ("X has ", " is expecting ")
"""The beginning of a message of scikit-learn, which its users search for."""


def plurals_after_numbers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of each f-string that puts a plural behind a number of any size."""
    checked = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) or (isinstance(node, ast.IfExp) and ast.unparse(node.test).endswith("== 1"))
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr) or id(node) in checked:
            continue
        before = ""
        for number, text in zip(node.values, [*node.values[1:], None], strict=True):
            if isinstance(number, ast.Constant):
                before = str(number.value)
            elif isinstance(text, ast.Constant) and PLURAL.match(str(text.value)):
                value = ast.unparse(number.value)  # type: ignore[attr-defined]
                name = value.partition("[")[0].rpartition(".")[2]  # of a constant, or of a table of words
                if not (name.isupper() or before.endswith(AT_MOST + SCIKIT_LEARN)):
                    yield node.lineno, value + str(text.value)


def test_a_plural_that_may_stand_behind_a_one_is_found() -> None:
    text = (
        'f"{n} images", f"{n} other heads", f"{counted(n, \'run\')}", f"{n} images/s", f"1 to {n} rows", f"{MOST} rows"'
    )
    assert [found for _, found in plurals_after_numbers(ast.parse(text))] == ["n images", "n other heads"]


def test_no_message_counts_one_images() -> None:
    """Numbers with a noun come from `counted`, `every` or the like."""
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in plurals_after_numbers(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
