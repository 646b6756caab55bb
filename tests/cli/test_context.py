"""Global options are understood before a command and after it; commands by other names are pointed to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank.system import runtime

Ask = Callable[..., tuple[str, str]]


def test_the_cache_before_and_after_the_command_and_inside_a_group(in_process: Ask, tmp_path: Path) -> None:
    place = tmp_path / "banks"
    for words in (
        ("--cache", place, "cache", "ls"), ("cache", "--cache", place, "ls"), ("cache", "ls", "--cache", place),
        ("--cache", "elsewhere", "cache", "ls", "--cache", place),
    ):  # fmt: skip
        out, _ = in_process(*words)
        assert f"no bank in '{place}'" in out
        assert f"featurebank --cache {place} extract" in out


def test_wrong_values_after_the_command_are_told_like_those_before(in_process: Ask) -> None:
    assert "--threads is 0" in in_process("datasets", "--threads", 0, code=1)[1]
    assert "--ram is 'x'" in in_process("datasets", "--ram", "x", code=1)[1]
    assert runtime.threads() >= 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("train",), "featurebank heads"), (("fit",), "featurebank heads"), (("features",), "featurebank extract"),
        (("leaderbord",), "featurebank leaderboard"), (("list",), "featurebank cache ls"),
        (("cache", "delete"), "featurebank cache rm"), (("nonsense",), "expected one of advise, backbones, "),
    ],
)  # fmt: skip
def test_other_names_of_commands(in_process: Ask, words: tuple[str, ...], meant: str) -> None:
    assert meant in in_process(*words, code=2)[1]


def test_extract_takes_the_images_once(in_process: Ask) -> None:
    _, errors = in_process("extract", "a", "--dataset", "b", "--backbone", "vgg16", code=2)
    assert "the images are named twice, by 'a' and by --dataset b" in errors
