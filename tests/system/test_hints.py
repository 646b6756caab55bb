"""Commands in messages have the user's own options."""

from __future__ import annotations

import doctest
import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.cli import group
from featurebank.system import hints
from featurebank.system.hints import set_global_options, with_global_options


@pytest.fixture(autouse=True)
def none_after() -> Iterator[None]:
    yield
    set_global_options(())


def test_the_examples_are_right() -> None:
    assert doctest.testmod(hints).failed == 0


def test_every_command_is_known() -> None:
    set_global_options(["--cache", "x"])
    for name in group.commands:
        assert with_global_options(f"featurebank {name}") == f"featurebank --cache x {name}"


def test_words_that_are_no_command_stay() -> None:
    set_global_options(["--cache", "x"])
    for text in ("pip install featurebank[onnx]", "a newer featurebank wrote it", "featurebank runs"):
        assert with_global_options(text) == text


@given(st.text(min_size=1))
def test_a_shell_reads_the_same_words(path: str) -> None:
    set_global_options(["--cache", path])
    if "\0" not in path:
        assert shlex.split(with_global_options("featurebank cache ls")) == [
            "featurebank",
            "--cache",
            path,
            "cache",
            "ls",
        ]
