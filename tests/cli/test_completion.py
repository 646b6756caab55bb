"""A shell completes names of the cache, and those that featurebank knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from featurebank import list_backbones, list_datasets
from featurebank.cli import group
from featurebank.heads.catalog import HEADS


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["heads", "--bank"], "fl", ["flowers-lite0"]), (["cache", "show"], "", ["digits-lite0", "flowers-lite0"]),
        (["export"], "", ["best", "f26f08d2e4"]), (["heads", "--grid"], "qu", ["quick"]),
        (["race", "--metric"], "bal", ["balanced_accuracy"]),
        (["heads", "--tap"], "b", ["block6d_add:avg"]), (["lead"][:0], "lead", ["leaderboard"]),
    ],
)  # fmt: skip
def test_names_are_completed(words: list[str], incomplete: str, expected: list[str], tmp_path: Path) -> None:
    for name in ("flowers-lite0", "digits-lite0"):
        (tmp_path / name / "runs").mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text('{"taps": ["pooled", "block6d_add:avg"]}')
    (tmp_path / "no bank").mkdir()
    (tmp_path / "digits-lite0" / "runs" / "f26f08d2e4.json").write_text("{}")
    (tmp_path / "digits-lite0" / "runs" / ".writing-1-left.json").write_text("{}")
    shell = ShellComplete(group, {}, "featurebank", "_FEATUREBANK_COMPLETE")
    found = shell.get_completions(["--cache", str(tmp_path), *words], incomplete)
    assert [item.value for item in found] == expected


def completed(words: list[str], incomplete: str) -> list[tuple[str, str]]:
    shell = ShellComplete(group, {}, "featurebank", "_FEATUREBANK_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(words, incomplete)]


@pytest.mark.parametrize("words", [["heads", "--head"], ["heads", "--list"]])
def test_kinds_of_heads_are_completed(words: list[str]) -> None:
    assert completed(words, "") == [("plain", name) for name in sorted(HEADS)]


@pytest.mark.parametrize("words", [["extract", "--backbone"], ["backbones"]])
def test_backbones_are_completed(words: list[str]) -> None:
    assert completed(words, "vgg") == [("file", "vgg"), ("plain", "vgg16"), ("plain", "vgg19")]
    assert {name for _, name in completed(words, "")} == {
        "", "hf:", "keras_hub:", "timm:", "torchvision:", *(spec.name for spec in list_backbones()),
    }  # fmt: skip
    assert completed(words, "./my.ke") == [("file", "./my.ke")]


@pytest.mark.parametrize(
    "words",
    [["extract"], ["extract", "--dataset"], ["extract", "--test-dataset"], ["inspect"], ["evaluate", "model.keras"]],
)
def test_datasets_are_completed_then_paths(words: list[str]) -> None:
    assert completed(words, "f") == [("file", "f"), ("plain", "flowers"), ("plain", "folder:")]
    assert completed(words, "./") == [("file", "./")]
    known = {entry.name.partition(":")[0] for entry in list_datasets()}
    assert {name.removesuffix(":") for _, name in completed(words, "")} == {"", *known}


@pytest.mark.parametrize("words", [["extract", "--backbone"], ["heads", "--head"], ["inspect"]])
def test_nothing_heavy_is_imported_while_a_shell_waits(words: list[str]) -> None:
    code = f"""
import sys
from click.shell_completion import ShellComplete
from featurebank.cli import group
assert ShellComplete(group, {{}}, "featurebank", "X").get_completions({words!r}, "")
heavy = {{"tensorflow", "keras", "openvino", "sklearn", "h5py", "scipy", "pydantic", "rich", "pandas", "pyarrow"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
