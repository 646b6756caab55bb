"""A shell completes names of the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from featurebank.cli import group


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["heads", "--bank"], "fl", ["flowers-lite0"]), (["cache", "show"], "", ["digits-lite0", "flowers-lite0"]),
        (["export"], "", ["best", "f26f08d2e4"]), (["heads", "--grid"], "qu", ["quick"]),
        (["heads", "--tap"], "b", ["block6d_add:avg"]), (["lead"][:0], "lead", ["leaderboard"]),
    ],
)  # fmt: skip
def test_names_are_completed(words: list[str], incomplete: str, expected: list[str], tmp_path: Path) -> None:
    for name in ("flowers-lite0", "digits-lite0"):
        (tmp_path / name / "runs").mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text('{"taps": ["pooled", "block6d_add:avg"]}')
    (tmp_path / "no bank").mkdir()
    (tmp_path / "digits-lite0" / "runs" / "f26f08d2e4.json").write_text("{}")
    shell = ShellComplete(group, {}, "featurebank", "_FEATUREBANK_COMPLETE")
    found = shell.get_completions(["--cache", str(tmp_path), *words], incomplete)
    assert [item.value for item in found] == expected
