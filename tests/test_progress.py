"""Lists of lines are shortened for people, without losing a kind of line or the number of lines."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st

from featurebank import progress
from featurebank.progress import enumerate_some, kind_of, shorten

LINES = st.lists(
    st.builds("{} '{}' has {} images".format, st.sampled_from("abc"), st.text("xyz", max_size=3), st.integers(0, 99))
)


def test_the_examples_are_right() -> None:
    assert doctest.testmod(progress).failed == 0


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
