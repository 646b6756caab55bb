"""Everything that people read keeps the rules of docs/style.toml, and each rule finds what it is there for."""

from __future__ import annotations

from pathlib import Path

import pytest
from prose import ROOT, STYLE, Passage, bad_words, complaints, pages, sources


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_keeps_the_style(page: Path) -> None:
    wrong = complaints(page)
    assert not wrong, "\n" + "\n".join(wrong)


def test_docstrings_comments_and_messages_keep_the_style() -> None:
    wrong = [line for path in sources() for line in complaints(path)]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("rule", STYLE["words"], ids=lambda rule: rule["like"])
def test_a_rule_finds_its_example(rule: dict[str, str]) -> None:
    for kind in rule.get("only", ["paragraph", "docstring", "comment", "message"]):
        passage = Passage(ROOT / "page.md", 1, kind, f"A sentence has\n{rule['like']}.")
        assert [line for line in bad_words(passage) if line.endswith(f"-> {rule['write']}")]


PAGE = """---
title: front matter
---
# A Page of Mine

| a table |
|---|
| of `very` many |

A `very` long "very" {ref}`very` text,
on a **very** wide
line: [very](very.md) is found, ``very`` is not.

```{note}
:class: very
Please wait.
```

```{toctree}
please
```

<!-- setup
please()
-->
"""


def test_pages_are_read_without_their_code(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    found = [line.removeprefix(f"{tmp_path}/").split(" -> ")[0] for line in complaints(tmp_path / "page.md")]
    assert found == [
        "page.md:4: A Page of Mine",
        "page.md:4: Page",
        "page.md:4: Mine",
        "page.md:11: very",
        "page.md:12: very",
        "page.md:16: Please",
    ]


SOURCE = '''"""The first sentence is short.

Args:
    name: a very bad word.

Example:
    >>> please()
    'please'
"""

message = f"please give {name!r}"  # very, not `very`
"""An attribute; please."""
'''


def test_sources_are_read_without_their_code(tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text(SOURCE)
    found = [line.removeprefix(f"{tmp_path}/").split(" -> ")[0] for line in complaints(tmp_path / "source.py")]
    places = ["11: please", "11: very", "12: please", "4: very"]
    assert sorted(found) == [f"source.py:{place}" for place in places]


LONG = "one two three four five six seven eight nine ten " * 4


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"{LONG}eleven.", 1),
        (f"{LONG}.", 0),
        (f"Before: {LONG}. After {LONG}.", 1),
        (f"{LONG}(in parentheses).", 0),
        ("one, two three, four, five six, " * 8 + "seven.", 0),
    ],
)
def test_long_sentences(text: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# Title\n\n{text}\n")
    found = complaints(tmp_path / "page.md")
    assert len(found) == count
    assert all(f"{tmp_path}/page.md:3: " in line and "words) ->" in line for line in found)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("No title.\n", "no title"),
        ("# Title\n\n- a list\n", "say in a sentence"),
        ("# Title\n\n## Another\n\nText.\n", "say in a sentence"),
        ("# Title\n\nText.\n\n## A heading.\n", "no punctuation"),
    ],
)
def test_a_page_begins_with_a_title_and_a_sentence(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(text)
    assert any(complaint in line for line in complaints(tmp_path / "page.md"))
