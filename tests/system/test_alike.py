"""Lists of lines are shortened without losing a kind or a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from featurebank.system.alike import AlikeLines, enumerate_some, kind_of, shorten

LINES = st.lists(
    st.builds("{} '{}' has {} images".format, st.sampled_from("abc"), st.text("xyz", max_size=3), st.integers(0, 99))
)


@given(LINES, st.integers(1, 4))
def test_every_kind_stays_and_every_line_is_counted(lines: list[str], most: int) -> None:
    shown = shorten(lines, most)
    kept = [line for line in shown if not line.startswith("...")]
    counted = sum(int(line.split()[2]) for line in shown if line.startswith("..."))
    assert len(kept) + counted == len(lines)
    assert {kind_of(line) for line in kept} == {kind_of(line) for line in lines}
    for kind in set(map(kind_of, lines)):
        same = [line for line in lines if kind_of(line) == kind]
        assert [line for line in kept if kind_of(line) == kind] == same[:most]


def test_names_with_apostrophes_do_not_make_a_kind() -> None:
    assert kind_of("class 'it's a' has 1 image only") == kind_of("class 'b' has 12 image only")


def test_a_short_list_is_whole() -> None:
    assert enumerate_some(["a", "b", "c"]) == "'a', 'b', 'c'"
    assert enumerate_some([]) == ""


@given(LINES)
def test_line_by_line_the_same_lines_are_shown(lines: list[str]) -> None:
    alike = AlikeLines()
    shown = [line for line in lines if alike.is_shown(line)]
    assert sorted(shown) == sorted(line for line in shorten(lines) if not line.startswith("..."))
    assert len(shown) + sum(int(line.split()[0]) for line in alike.rest()) == len(lines)
    assert alike.rest() == []
