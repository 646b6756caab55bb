"""The commands in the pages and in the help exist, have the options that are shown, and do their work."""

from __future__ import annotations

import importlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import yaml
from manual import (
    PAGES,
    README,
    ROOT,
    all_commands,
    blocks,
    code_spans,
    command_of,
    commands_of,
    each_page,
    help_examples,
    named_options,
    options_of,
)
from PIL import Image

from featurebank.cli import group

ELSEWHERE = {
    "pip": "it needs a network", "kubectl": "it needs a Kubernetes", "sbatch": "it needs a Slurm",
    "srun": "it needs a Slurm", "echo": "it writes into files of the user",
    "ssh": "it needs another machine", "rclone": "it needs a bucket",
}  # fmt: skip
"""Programs in bash blocks that no test can run, and why; one that is neither here nor checked is an error."""


def shell_commands(page: Path) -> list[list[str]]:
    """Returns the words of each command in the bash blocks of a page, and those that a container of a YAML block runs.

    Assignments before a command are left out, and variables stay as they are.
    """
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    commands = []
    for line in text.splitlines():
        words = shlex.split(re.sub(r" >>? \S+", "", line), comments=True)  # without the files that are written
        while words:
            end = next((place for place, word in enumerate(words) if word in {"&", "&&", "|", ";", "--"}), len(words))
            commands.append(list(itertools.dropwhile(lambda word: re.match(r"\w+=", word), words[:end])))
            words = words[end + 1 :]
    return [words for words in [*commands, *container_commands(page)] if words and words[0] != "export"]


def container_commands(page: Path) -> list[list[str]]:
    """Returns what the containers of Kubernetes's objects run."""
    objects = [one for block in blocks(page, "yaml") for one in yaml.safe_load_all(block)]
    assert all({"apiVersion", "kind", "metadata", "spec"} <= set(one) for one in objects), "another kind of YAML"
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one["spec"]]
    for one in objects:
        if one["kind"] == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert one["spec"]["selector"]["matchLabels"].items() <= labels.items()
    for pod in pods:
        volumes = {volume["name"] for volume in pod.get("volumes", ())}
        assert {mount["name"] for box in pod["containers"] for mount in box.get("volumeMounts", ())} <= volumes
    return [[*box.get("command", ()), *box.get("args", ())] for pod in pods for box in pod["containers"]]


@each_page
def test_bash_of_the_pages_has_no_syntax_error(page: Path) -> None:
    for block in blocks(page, "bash"):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@each_page
def test_commands_in_bash_blocks_can_be_parsed(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of featurebank, of Dask and of the benchmarks; others need what no test has."""
    monkeypatch.syspath_prepend(ROOT)
    for words in shell_commands(page):
        if words[0] == "featurebank":
            command, rest = command_of([re.sub(r"\$\{?\w+\}?", "1", word) for word in words[1:]])
            command.make_context(words[1], rest)
        elif words[0] == "dask":
            (entry,) = entry_points(group="dask_cli", name=words[1])
            context = entry.load().make_context(words[1], list(words[2:]))
            assert not [word for word in context.args if word.startswith("-")], words
        elif words[:3] == ["python", "-m", "benchmarks"]:
            importlib.import_module("benchmarks.__main__").parser_of(words[3:]).parse_args(words[3:])
        else:
            assert words[0] in ELSEWHERE, words


def synopses(page: Path) -> list[str]:
    """Returns the commands that a page describes with placeholders: in blocks, and within sentences."""
    shown = [block for block in blocks(page, "text") if block.startswith("featurebank ")]
    spans = [span for span in code_spans(page) if re.match(rf"(featurebank|{'|'.join(group.commands)}) ", span)]
    return [text.removeprefix("featurebank ") for text in [*shown, *spans] if "COMMAND" not in text]


@each_page
def test_every_command_that_a_page_describes_has_these_options(page: Path) -> None:
    for text in synopses(page):
        words = re.findall(r"^(?:[a-z]+ ?)+", text)[0].split()
        path = words[:2] if words[0] == "cache" else words[:1]
        assert set(named_options(text)) <= options_of(command_of(path)[0]) | {"--help"}, text


@each_page
def test_every_option_that_a_page_names_alone_belongs_to_a_command(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of featurebank, of Dask, or a benchmark."""
    monkeypatch.syspath_prepend(ROOT)
    known = {name for command in all_commands() for name in options_of(command)} | {"--help", "--version"}
    known |= {name for entry in entry_points(group="dask_cli") for one in entry.load().params for name in one.opts}
    known |= set(importlib.import_module("benchmarks.__main__").parser_of(["scale"])._option_string_actions)
    assert {name for span in code_spans(page) if span.startswith("--") for name in named_options(span)} - known == set()


def test_examples_of_the_help_have_a_line_each() -> None:
    assert len(help_examples()) == 7


SHOWN = [*(words for page in PAGES for words in commands_of(page)), *help_examples()]


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_every_command_that_is_shown_can_be_parsed(words: list[str]) -> None:
    command, rest = command_of(words)
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
    for words in [*commands_of(README), *help_examples()]:
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
