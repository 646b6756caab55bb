"""The documents are true: their Python runs, their commands and files exist, their links lead somewhere."""

from __future__ import annotations

import ast
import importlib
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image

import featurebank
from featurebank import make_head
from featurebank.cli import group
from featurebank.grid.files import NOT_PARAMETERS, read_grid
from featurebank.pipeline.variants import variants_from_file

ROOT = Path(__file__).resolve().parents[1]
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
MANUAL = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES = [README, CONTRIBUTING, ROOT / "cache" / "README.md", *MANUAL]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NOT_HERE = {"runs", ".", "photos", "new_photos"}
"""How paths begin that are no part of the source but the reader's."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """Returns the fenced blocks of a page that name this language."""
    return [text for name, text in FENCE.findall(text_of(page)) if name == language]


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    return FENCE.sub("", text_of(page))


def code_spans(page: Path) -> list[str]:
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]


@each_page
def test_python_without_results_compiles(page: Path) -> None:
    for code in blocks(page, "python"):
        if ">>> " not in code:
            ast.parse(code)


@pytest.mark.heavy
@each_page
def test_what_python_without_results_imports_exists(page: Path) -> None:
    code = "\n".join(block for block in blocks(page, "python") if ">>> " not in block)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})


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


@each_page
def test_toml_of_the_pages_is_valid(page: Path, tmp_path: Path) -> None:
    """A block of heads is a grid, one with variants continues the pipeline above it."""
    pipeline, file = "", tmp_path / "shown.toml"
    for block in blocks(page, "toml"):
        file.write_text(block, encoding="utf-8")
        if "head" in tomllib.loads(block):
            for values in read_grid(str(file)):
                params = {name: value for name, value in values.items() if name not in NOT_PARAMETERS}
                assert make_head(values["kind"], params)
            continue
        pipeline = f"{pipeline}\n{block}" if "variant" in tomllib.loads(block) else block
        file.write_text(pipeline, encoding="utf-8")
        assert variants_from_file(file)


def anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    text = prose(page)
    targets = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)]
    for target in (one for one in targets if not one.startswith("http")):
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), target
        assert leads_to.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(leads_to), target


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


@each_page
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    """A path may be relative to the package, as in CONTRIBUTING.md; capitals stand for a name."""
    pattern = r"[a-z_\d/.*-]+/([a-z_\d*-]+\.(py|md|toml))?"
    for name in (span for span in code_spans(page) if re.fullmatch(pattern, span)):
        here = any(any(place.glob(name)) for place in (ROOT, ROOT / "featurebank"))
        assert here or name.split("/")[0] in NOT_HERE, name


@each_page
def test_every_public_name_exists(page: Path) -> None:
    names = set(re.findall(r"(?<![\w.])fb\.([A-Za-z_]\w*)", text_of(page)))
    assert {name for name in names if not hasattr(featurebank, name)} == set()


def test_the_page_about_reports_explains_each_section() -> None:
    """The title of each section, as the sources set it."""
    sources = "".join(map(text_of, (ROOT / "featurebank" / "reporting").rglob("*.py")))
    titles = set(re.findall(r'\bConclusion\(\s*"([^"]+)"', sources))
    assert len(titles) > 10
    assert titles <= set(re.findall(r"^\*\*([^*]+)\*\*", text_of(ROOT / "docs" / "guide" / "report.md"), re.MULTILINE))


def test_contributing_names_every_room_and_module_and_what_is_beside_them() -> None:
    rows = re.findall(r"^\| (`[^|]+) \|", text_of(CONTRIBUTING), re.MULTILINE)
    named = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
    package = ROOT / "featurebank"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.name for path in package.glob("*.py")} - {"__main__.py"}
    beside = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    assert {*rooms, *modules} - named == set()
    if beside:  # an archive of the source has no list of its files
        assert {name.partition("/")[0] for name in beside if not name.startswith(".")} - named == set()


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Returns the command that the first words name, and the other words."""
    command: click.Command = group
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command: click.Command) -> set[str]:
    return {name for option in [*command.params, *group.params] for name in [*option.opts, *option.secondary_opts]}


def all_commands(command: click.Command = group) -> list[click.Command]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(one for sub in below for one in all_commands(sub))]


def synopses(page: Path) -> list[str]:
    """Returns the commands that a page describes with placeholders: in blocks, and within sentences."""
    shown = [block for block in blocks(page, "text") if block.startswith("featurebank ")]
    spans = [span for span in code_spans(page) if re.match(rf"(featurebank|{'|'.join(group.commands)}) ", span)]
    return [text.removeprefix("featurebank ") for text in [*shown, *spans] if "COMMAND" not in text]


def named_options(text: str) -> list[str]:
    return re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", text)


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


def commands_of(page: Path) -> list[list[str]]:
    """Returns the words of each command of featurebank that a page shows to be typed, in its order."""
    typed = [part.strip() for line in prose(page).splitlines() if line.startswith("    ") for part in line.split("&&")]
    return [shlex.split(part, comments=True)[1:] for part in typed if part.startswith("featurebank ")]


def help_examples() -> list[list[str]]:
    """Returns the words of each example in the help of the command line."""
    lines = CliRunner().invoke(group, ["--help"]).output.splitlines()
    return [shlex.split(line.strip().split("  ")[0])[1:] for line in lines if line.startswith("    featurebank ")]


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
