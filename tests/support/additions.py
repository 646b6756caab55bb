"""Applies the changes that the pages for contributors show to a copy of the source.

A comment `<!-- source: PATH -->` names the file that the next block is about. A `diff` block changes it: the lines that
begin with a space or a minus occur there once, and become those that begin with a space or a plus. Any other block is a
whole new file.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "develop").glob("add-*.md"))
SHOWN = re.compile(r"^<!-- source: (\S+) -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Change(NamedTuple):
    """What a block of a page does with a file."""

    path: str
    language: str
    text: str


def changes(page: Path) -> list[Change]:
    """Returns the changes that a page shows, in their order."""
    return [Change(*found) for found in SHOWN.findall(page.read_text(encoding="utf-8"))]


def copy_source(folder: Path) -> None:
    """Copies the package, the tests and their settings."""
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("featurebank", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "docs", "README.md", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)


def apply(change: Change, folder: Path) -> None:
    """Makes a change in a copy of the source.

    Raises:
        AssertionError: the file does not hold the lines that the page shows, or exists although the page adds it.
    """
    path = folder / change.path
    if change.language != "diff":
        assert not path.exists(), f"{change.path} exists already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(change.text, encoding="utf-8")
        return
    lines = change.text.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{change.path} does not hold once:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")
