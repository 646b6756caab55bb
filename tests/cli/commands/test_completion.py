"""The real shells complete what is typed, from the printed script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import run_command
from shells import BASH, ZSH, Typist, fish_completions, require

pytestmark = pytest.mark.heavy

SHELLS = ("bash", "zsh", "fish")
LINES = {
    "featurebank leaderb": "featurebank leaderboard ",
    "featurebank heads --head softm": "featurebank heads --head softmax ",
    "featurebank heads --head=softm": "featurebank heads --head=softmax ",
    "featurebank heads --tap block6d_add:a": "featurebank heads --tap block6d_add:avg ",
    "featurebank extract --backbone keras_h": "featurebank extract --backbone keras_hub:",
    "featurebank extract --dataset=./pho": "featurebank extract --dataset=./photos.csv ",
}
"""A line that is typed, and the same after the Tab key."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """Returns a directory with the printed scripts, a bank and a table."""
    for shell in SHELLS:
        script, _ = run_command(("completion", shell), monkeypatch, capsys)
        (tmp_path / f"completion.{shell}").write_text(script)
    (tmp_path / "cache" / "flowers-lite0").mkdir(parents=True)
    (tmp_path / "cache" / "flowers-lite0" / "manifest.json").write_text('{"taps": ["pooled", "block6d_add:avg"]}')
    (tmp_path / "photos.csv").touch()
    return tmp_path


@pytest.fixture
def typist(request: pytest.FixtureRequest, home: Path) -> Iterator[Typist]:
    """Yields a bash or a zsh that has loaded its script."""
    shell = request.param
    require(shell)
    command, start = (BASH, "PS1=") if shell == "bash" else (ZSH, "PS1=; autoload -U compinit; compinit -u -D")
    started = Typist(command, f"{start}; . ./completion.{shell}", home, {"FEATUREBANK_CACHE": "cache"})
    yield started
    started.close()


@pytest.mark.parametrize("typist", ["bash", "zsh"], indirect=True)
def test_a_shell_completes_the_line(typist: Typist) -> None:
    assert {line: typist.complete(line) for line in LINES} == {line: f"{full}x" for line, full in LINES.items()}


@pytest.mark.parametrize(
    ("shell", "parts"),
    [
        ("bash", ("COMP_LINE:0:COMP_POINT", "compopt -o nospace")),
        ("zsh", ("compset -P", 'compadd -U -i "$IPREFIX" -S')),
        ("fish", ("string match -r", "string replace -- ")),
    ],
)
def test_each_script_of_click_is_changed(shell: str, parts: tuple[str, ...], home: Path) -> None:
    """A version of click with other scripts is noticed also where the shell is not installed."""
    script = (home / f"completion.{shell}").read_text(encoding="utf-8")
    assert [part for part in parts if part not in script] == []


def test_fish_completes_the_word(home: Path) -> None:
    require("fish")
    offers = {
        line: fish_completions(line, "source completion.fish", home, {"FEATUREBANK_CACHE": "cache"}) for line in LINES
    }
    assert offers == {line: [complete.rpartition(" ")[2] or complete.split()[-1]] for line, complete in LINES.items()}
