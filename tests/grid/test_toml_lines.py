"""The lines of a grid file's keys, whatever stands between them."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from featurebank.grid.toml_lines import find_places

NAMES = st.sampled_from(["C", "kind", "hidden_units", '"learning rate"', "'p'", "a-b"])
VALUES = st.sampled_from([
    "1", "1e-3 # [[head]]", '"[[head]] # no comment"', "\'\'\'\nkind = 1\n[[head]]\n\'\'\'", "[1,\n # ],\n 2]",
    "[[512,\n256], 8]",
    '"""\n]\n\\"""\n"""', "{ a = 1 }", "[\n[\n1\n]\n,\n]", "'\"\"\"'", "\"\"\"a\"\"\"\"",
])  # fmt: skip
GAPS = st.lists(st.sampled_from(["", "# kind = 3", "  # [[head]]", "\t"]), max_size=2)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[tuple[int, dict[str, int]]], dict[str, int]]:
    """A text, the line of each block and its keys, and those of the keys before the first."""
    lines: list[str] = []
    top: dict[str, int] = {}
    blocks: list[tuple[int, dict[str, int]]] = []

    def write(keys: dict[str, int]) -> None:
        for name in draw(st.lists(NAMES, max_size=4, unique=True)):
            lines.extend(draw(GAPS))
            keys[name.strip("\"'")] = len(lines) + 1
            lines.extend(f"{draw(st.sampled_from(['', '  ']))}{name} = {draw(VALUES)}".split("\n"))

    write(top)
    for _ in range(draw(st.integers(0, 3))):
        lines.extend(draw(GAPS))
        blocks.append((len(lines) + 1, {}))
        lines.append(draw(st.sampled_from(["[[head]]", " [[ head ]] # [[x]]", '[["head"]]'])))
        write(blocks[-1][1])
    lines.extend(draw(GAPS))
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines), blocks, top


@given(files())
def test_every_key_has_its_line(made: tuple[str, list[tuple[int, dict[str, int]]], dict[str, int]]) -> None:
    text, blocks, top = made
    value = tomllib.loads(text)
    found = find_places(text, "head")
    assert [(place.line, place.keys) for place in found.blocks] == blocks
    assert found.top == top
    assert [list(block) for block in value.pop("head", [])] == [list(keys) for _, keys in blocks]
    assert list(value) == list(top)


def test_tables_inside_and_beside_blocks() -> None:
    text = "[[head]]\na.b = 1\n[head.c]\nd = 1\n[[head]]\n[other]\nhead = 1\ne = 2\n[[head.f]]\ng = 1\n"
    found = find_places(text, "head")
    assert [(place.line, place.keys) for place in found.blocks] == [(1, {"a": 2, "c": 3}), (5, {"f": 9})]
    assert found.top == {"other": 6}


def test_blocks_in_a_list_have_its_line() -> None:
    found = find_places('x = 1\nhead = [\n{kind = "knn"},\n{kind = "svm"}]\n', "head")
    assert [(place.line, place.keys) for place in found.blocks] == [(2, {}), (2, {})]
