"""The English of names and of numbers in messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from prose import ROOT, STYLE, syntax

PACKAGE = ROOT / "featurebank"
FILES = sorted(PACKAGE.rglob("*.py"))


def stored_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields line and name of all classes, functions, parameters, variables and attributes that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_say_what_they_are() -> None:
    """No verb, and no participle, names a thing: `identifiers` in docs/style.toml."""
    forbidden, allowed = set(STYLE["identifiers"]["forbidden"]), STYLE["identifiers"]["allowed"]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name} -> what it is, not what was done"
        for path in FILES
        for line, name in stored_names(syntax(path))
        if forbidden & {word.lower() for word in re.findall("[A-Z]?[a-z]+", name)} and name not in allowed
    ]
    assert not wrong, "\n".join(wrong)


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
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        for line, text in plurals_after_numbers(syntax(path))
    ]
    assert not wrong, "\n".join(wrong)
