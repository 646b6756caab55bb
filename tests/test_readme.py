"""The README's Python, run as written; its tree and its claims about files."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from featurebank.cli import group

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[1]


def test_python_in_the_readme_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    result = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert result.attempted >= 8
    assert result.failed == 0


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        ROOT / "cache" / "README.md",
    ]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_room_is_in_the_tree_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "featurebank").iterdir():
        if path.name not in {"__pycache__", "py.typed", "__main__.py"}:
            assert f"  {path.name}{'/' if path.is_dir() else ''} " in text, path.name


def test_contributing_names_every_room_and_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "featurebank").glob("*/__init__.py")}
    assert set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == rooms
    named = {name for name in re.findall(r"`([\w/]+(?:\.py|/))`", text) if "ROOM" not in name and name != "__init__.py"}
    assert len(named) > 20
    assert [name for name in named if not any((home / name).exists() for home in (ROOT, ROOT / "featurebank"))] == []


def readme_commands() -> list[list[str]]:
    """Returns the words of each command of featurebank in the README, in its order."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    typed = [part.strip() for line in lines if line.startswith("    ") for part in line.split("&&")]
    return [shlex.split(part)[1:] for part in typed if part.startswith("featurebank ")]


def help_examples() -> list[list[str]]:
    """Returns the words of each example in the help of the command line."""
    lines = CliRunner().invoke(group, ["--help"]).output.splitlines()
    return [shlex.split(line.strip().split("  ")[0])[1:] for line in lines if line.startswith("    featurebank ")]


def test_examples_of_the_help_have_a_line_each() -> None:
    assert len(help_examples()) == 7


@pytest.mark.parametrize("words", [*readme_commands(), *help_examples()], ids=" ".join)
def test_every_command_that_is_shown_can_be_parsed(words: list[str]) -> None:
    command: click.Command = group
    rest = list(words)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # fifteen commands, among them a whole fine-tune
def test_every_command_that_is_shown_does_its_work_in_order(tmp_path: Path) -> None:
    """Where only what `pip install .` brings can be imported, in one directory, one after another."""
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    random = np.random.default_rng(0)
    for number in range(48):
        mean = ((200, 40, 40), (40, 40, 200))[number % 2]
        pixels = np.clip(np.array(mean) + random.normal(0, 40, (40, 48, 3)), 0, 255).astype(np.uint8)
        for folder in (f"path/to/photos/{('ant', 'bee')[number % 2]}", *(["new/photos"] if number < 4 else [])):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{number}.png")
    shutil.copy(tmp_path / "new/photos/0.png", tmp_path / "photo.jpg")
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    paths = os.pathsep.join([str(tmp_path / "blocker"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": paths}
    environment.pop("FEATUREBANK_CACHE", None)
    for words in [*readme_commands(), *help_examples()]:
        done = subprocess.run(
            [sys.executable, "-m", "featurebank", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"


BLOCKER = '''
"""Refuses what no requirement of featurebank itself brings, as if it were not installed."""
import re, sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

def needed(name, known):
    name = re.sub(r"[-_.]+", "-", name).lower()
    if name not in known:
        known.add(name)
        try:
            asked = requires(name) or []
        except PackageNotFoundError:
            return known
        for line in asked:
            if "extra ==" not in line:
                needed(re.match(r"[\\w.-]+", line)[0], known)
    return known

known = needed("featurebank", {"setuptools", "pip"})
absent = {
    module for module, of in packages_distributions().items()
    if not any(re.sub(r"[-_.]+", "-", name).lower() in known for name in of)
}

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
assert "tensorboard" in absent and "numpy" not in absent and "tensorflow" not in absent
'''
