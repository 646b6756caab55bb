"""Options in the text that names a dataset."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.dataset import spec_options
from featurebank.dataset.spec_options import join_options, split_options


def test_the_examples_are_right() -> None:
    assert doctest.testmod(spec_options).failed == 0


VALUES = st.text(st.characters(exclude_characters="#,=", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(st.text("abc/.#= ", max_size=8), st.dictionaries(st.sampled_from(["path", "label", "split"]), VALUES))
def test_what_is_joined_is_split_again(path: str, options: dict[str, str]) -> None:
    if not options and split_options(path, ["a"])[1]:
        return
    assert split_options(join_options(path, options), ["path", "label", "split", "a"]) == (path, options)


@pytest.mark.parametrize(
    "text", ["photos", "a#b", "a#layout", "a#layout=", "a#1%20, x:y", "a#other=x", "a#layout=x/y#z"]
)
def test_other_texts_are_paths(text: str) -> None:
    assert split_options(text, ["layout"]) == (text, {})


def test_a_folder_of_that_name_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "a#layout=classes").mkdir()
    assert split_options(f"{tmp_path}/a#layout=classes", ["layout"])[1] == {}
