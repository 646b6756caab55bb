"""Checks the English of pages and sources by `docs/style.toml`: `python tests/support/prose.py [FILE...]`."""

from __future__ import annotations

import ast
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
STYLE: dict[str, Any] = tomllib.loads((ROOT / "docs" / "style.toml").read_text(encoding="utf-8"))
CODE = "`code`"
"""What stands for code in a passage: one word, of which no rule says anything."""


def shown(path: Path) -> str:
    """Returns a path as the complaints name it."""
    return (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()


@dataclass(frozen=True)
class Passage:
    """A heading, a paragraph, a docstring's paragraph, a comment or a message, with the place where it begins."""

    path: Path
    line: int
    kind: str
    text: str
    cell: int | None = None

    def place(self, position: int = 0) -> str:
        """Returns the place of a character of this passage."""
        cell = "" if self.cell is None else f"cell {self.cell}:"
        return f"{shown(self.path)}:{cell}{self.line + self.text.count(chr(10), 0, position)}"


def pages() -> list[Path]:
    """Returns all pages of the manual and beside it that people read."""
    found = [*ROOT.glob("*.md"), *(ROOT / ".github").rglob("*.md"), ROOT / "cache" / "README.md"]
    found += [
        path for kind in ("*.md", "*.ipynb") for path in (ROOT / "docs").rglob(kind) if "_build" not in path.parts
    ]
    return sorted(set(found) - {ROOT / "CODE_OF_CONDUCT.md"})  # its text is that of the Contributor Covenant


def sources() -> list[Path]:
    """Returns the Python files whose docstrings, comments and messages people read."""
    return sorted(path for folder in ("featurebank", "benchmarks", "docs") for path in (ROOT / folder).rglob("*.py"))


# Pages


PROSE_DIRECTIVES = (
    "note",
    "tip",
    "warning",
    "important",
    "admonition",
    "dropdown",
    "card",
    "grid",
    "tab-item",
    "tab-set",
)


def without_directives(text: str) -> str:
    """Empties the lines that MyST understands and Markdown does not, so that what lies between them is prose."""
    fences: list[str] = []
    lines = []
    options = False
    for line in text.splitlines():
        bare = line.strip()
        fence = re.match(rf"(`{{3,}}|:{{3,}})\{{({'|'.join(PROSE_DIRECTIVES)})", bare)
        closes = bool(fences) and bare == fences[-1]
        if closes:
            fences.pop()
        elif fence:
            fences.append(fence[1])
        options = bool(fence) or (options and bare.startswith(":"))
        hidden = fence or closes or options or re.fullmatch(r"\([\w-]+\)=", bare)
        lines.append("" if hidden else line)
    return "\n".join(lines)


def markdown(path: Path, text: str, cell: int | None = None) -> Iterator[Passage]:
    """Yields the headings and paragraphs of Markdown."""
    front = re.match(r"---\n.*?\n---\n", text, re.DOTALL)
    text = ("\n" * front[0].count("\n") + text[front.end() :]) if front else text
    tokens = MarkdownIt("commonmark").enable("table").parse(without_directives(text))
    for before, token in itertools.pairwise(tokens):
        if token.type == "inline" and token.map:
            kind = {"heading_open": "heading", "paragraph_open": "paragraph"}.get(before.type, "cell")
            yield Passage(path, token.map[0] + 1, kind, inline_text(token.children or []), cell)


def inline_text(children: list[Token]) -> str:
    parts = []
    for child in children:
        if child.type == "code_inline":
            parts.append(CODE)
        elif child.type in {"softbreak", "hardbreak"}:
            parts.append("\n")
        elif child.type == "image":
            parts.append(inline_text(child.children or []))
        elif child.type == "text":
            parts.append(child.content)
    return re.sub(r"\{[\w:+-]+\}(?=`)", "", "".join(parts))


def page_passages(path: Path) -> Iterator[Passage]:
    """Yields the passages of a Markdown page or of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        yield from markdown(path, text)
        return
    for number, cell in enumerate(json.loads(text)["cells"], 1):
        if cell["cell_type"] == "markdown":
            yield from markdown(path, "".join(cell["source"]), number)


# Sources


SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Examples?|Notes?|Warns):")
ITEM = re.compile(r"\*{0,2}\w+(, \*{0,2}\w+)*( \([^)]*\))?: |[-*] |\d+\. ")


@cache
def syntax(path: Path) -> ast.Module:
    """Returns the syntax tree of a Python file, which many tests read."""
    return ast.parse(path.read_text(encoding="utf-8"))


def source_passages(path: Path) -> Iterator[Passage]:
    """Yields the docstrings, comments and messages of a Python file."""
    text = path.read_text(encoding="utf-8")
    documented, parts = set[int](), set[int]()
    for node in ast.walk(syntax(path)):  # parents before children
        if isinstance(node, ast.Expr):
            documented.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            texts = [str(part.value) if isinstance(part, ast.Constant) else CODE for part in node.values]
            yield Passage(path, node.lineno, "message", "".join(texts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            if id(node) in documented:
                yield from docstring(path, node.lineno, node.value)
            elif node.value.count(" ") > 1:
                yield Passage(path, node.lineno, "message", node.value)
    yield from comments(path, text)


def docstring(path: Path, line: int, text: str) -> Iterator[Passage]:
    """Yields the paragraphs of a docstring; an item of a list or of a section is one, and examples are none."""
    begin, lines, example = line, list[str](), False
    for number, raw in enumerate([*text.splitlines(), ""], line):
        bare = raw.strip()
        example = bool(bare) and (example or bare.startswith(">>>"))
        drawn = bool(re.search(r"\S {2,}\S", bare))  # a table, or a drawing
        ends = not bare or example or drawn or SECTION.fullmatch(bare) or ITEM.match(bare)
        if ends and lines:
            yield Passage(path, begin, "docstring", without_code("\n".join(lines)))
            lines = []
        if bare and not example and not drawn and not SECTION.fullmatch(bare):
            begin = begin if lines else number
            lines.append(ITEM.sub("", bare, count=1) if ends else bare)


STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<comment>#[^\n]*)', re.DOTALL
)


def comments(path: Path, text: str) -> Iterator[Passage]:
    """Yields the comments of a file; lines that follow one another are one comment."""
    begin, last, lines = 0, 0, list[str]()
    for match in STRING_OR_COMMENT.finditer(text):
        comment = match["comment"]
        if comment is None or re.match(r"#\s*(noqa|type:|fmt:|!)", comment):
            continue
        line = text.count("\n", 0, match.start()) + 1
        alone = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
        if lines and not (alone and line == last + 1):
            yield Passage(path, begin, "comment", without_code("\n".join(lines)))
            lines = []
        begin = begin if lines else line
        last = line
        lines.append(re.sub(r"\s*# (noqa|type:).*", "", comment.lstrip("# ")))
    if lines:
        yield Passage(path, begin, "comment", without_code("\n".join(lines)))


def without_code(text: str) -> str:
    return re.sub(r"``[^`]+``|`[^`]+`", lambda match: CODE + "\n" * match[0].count("\n"), text)


# Rules


@cache
def compiled() -> tuple[tuple[list[str], re.Pattern[str], str], ...]:
    """Returns of each rule: the kinds of passages, its pattern, and what to write."""
    return tuple(
        (
            rule.get("only", []),
            re.compile(r"(?<![\w-])(?:" + rule["find"].replace(" ", r"\s+") + r")(?![\w-])", re.IGNORECASE),
            rule["write"],
        )
        for rule in STYLE["words"]
    )


@cache
def any_rule() -> re.Pattern[str]:
    return re.compile("|".join(pattern.pattern for _, pattern, _ in compiled()), re.IGNORECASE)


def bad_words(passage: Passage) -> Iterator[str]:
    """Yields each forbidden word or phrase, with what to write instead."""
    if not any_rule().search(passage.text):
        return
    text = re.sub(r"[\"“][^\"”]*[\"”]", lambda match: '"' + re.sub(r"[^\n]", "_", match[0][1:-1]) + '"', passage.text)
    for only, pattern, write in compiled():
        if not only or passage.kind in only:
            for match in pattern.finditer(text):
                yield f"{passage.place(match.start())}: {' '.join(match[0].split())} -> {write}"


SENTENCE_END = re.compile(r"(?<=[.!?:;])[\"')]*\s+|\n\n")


def long_sentences(passage: Passage) -> Iterator[str]:
    """Yields the sentences with too many words."""
    limit = STYLE["longest_sentence"]
    position = 0
    if passage.kind == "message" and ("\n  " in passage.text or not re.search(r"[a-z][.:;,]", passage.text)):
        return  # a program, or a list of names
    for sentence in SENTENCE_END.split(passage.text):
        place = passage.text.find(sentence, position)
        position = place + len(sentence)
        words = [word for word in re.sub(r"\([^()]*\)", "", sentence).split() if re.search(r"\w", word)]
        items = sentence.count(",") + 1  # an enumeration of short items can be read
        if len(words) > limit and len(words) > STYLE["longest_item"] * items:
            yield (
                f"{passage.place(place)}: {' '.join(words[:6])} ... ({len(words)} words) -> "
                f"sentences of at most {limit} words"
            )


def heading_case(passage: Passage) -> Iterator[str]:
    """Yields a heading in title case, or with a full stop."""
    names = set(STYLE["heading_names"])
    text = passage.text.replace(CODE, "")
    for name in sorted((name for name in names if " " in name), key=len, reverse=True):
        text = text.replace(name, "")
    for sentence in re.split(r"[:.?!] ", text):
        for word in re.findall(r"[\w'\u2019.+-]+", sentence)[1:]:
            plain = re.sub(r"['\u2019]s?$", "", word).strip(".")
            if re.fullmatch(r"[A-Z][a-z]+", plain) and plain not in names:
                yield f"{passage.place()}: {plain} -> {plain.lower()}, or add it to heading_names in docs/style.toml"
    if re.search(r"[.:;,]$", text):
        yield f"{passage.place()}: {passage.text[-12:]} -> no punctuation at the end of a heading"


def beginning(page: Path, passages: list[Passage]) -> Iterator[str]:
    """Yields a complaint if no sentence comes after the title of a page."""
    if not passages or passages[0].kind != "heading":
        yield f"{shown(page)}:1: no title -> begin with a heading"
    elif page.name == "index.md":
        return
    elif len(passages) < 2 or passages[1].kind != "paragraph" or not re.search(r"[.:?]\)?$", passages[1].text.strip()):
        yield f"{passages[0].place()}: {passages[0].text} -> first say in a sentence what the reader gets"


def complaints(path: Path) -> list[str]:
    """Returns everything that the style forbids in a page or a source, as `page:line: found -> write`."""
    page = path.suffix != ".py"
    passages = list(page_passages(path) if page else source_passages(path))
    found = list(beginning(path, passages)) if page else []
    for passage in passages:
        found += bad_words(passage)
        found += heading_case(passage) if passage.kind == "heading" else long_sentences(passage)
    return found


if __name__ == "__main__":
    chosen = [Path(name).resolve() for name in sys.argv[1:]] or [*pages(), *sources()]
    everything = [line for path in chosen for line in complaints(path)]
    print("\n".join(everything))  # noqa: T201
    raise SystemExit(bool(everything))
