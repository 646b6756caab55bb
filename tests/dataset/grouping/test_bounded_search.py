"""Regular expressions find what Python's own search finds, and end in time whatever they are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.dataset.grouping import bounded_search
from featurebank.dataset.grouping.bounded_search import search_all
from featurebank.errors import ConfigError


@settings(max_examples=10, deadline=None)
@given(st.lists(st.text("ab/\n\ud800é'\"\\", max_size=9)))
def test_it_finds_what_a_search_finds(texts: list[str]) -> None:
    pattern = re.compile("(?P<group>[^/]+)?/")
    found = [match and match["group"] for match in map(pattern.search, texts)]
    assert search_all(pattern, "group", texts) == [one or "" for one in found]


@pytest.mark.parametrize("text", ["(?P<group>(a+)+)$", "(?P<group>(a|a)*)$", "(?P<group>(.*)*x)"])
def test_it_ends_in_time(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_search, "_SECONDS", 0.2)
    with pytest.raises(ConfigError, match=r"takes more than 0 s for 1 path: expected one without repetitions"):
        search_all(re.compile(text), "group", ["a" * 60 + "/0.png"])
