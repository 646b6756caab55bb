"""What names hold reaches the terminal escaped, whichever command shows them."""

from __future__ import annotations

import ast
import io
import json
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurebank.bank import Bank
from featurebank.cli.terminal import from_here, print_json
from featurebank.runs.run import load_runs
from featurebank.system.drawing.console import SafeConsole
from featurebank.system.drawing.text import printable

CLI = Path(__file__).resolve().parents[2] / "featurebank" / "cli"
EVIL = "\x1b[2J\x07\u202eevil\n\tname\x9b31m\u200b"
DOORS = {"echo", "secho", "confirm", "prompt", "print", "echo_via_pager", "Console"}


@given(st.text())
def test_nothing_that_is_printed_is_obeyed(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(sign) for sign in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert (shown == text) == (not {unicodedata.category(sign) for sign in text} & {"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_what_is_escaped_is_written_as_in_python() -> None:
    assert printable("a\n\t\x1b\u202e\x9b\udc80") == "a\\n\\t\\x1b\\u202e\\x9b\\udc80"
    assert printable("Ärger 🦊 дом \u3000") == "Ärger 🦊 дом \u3000"


@given(st.text())
def test_json_is_the_same_document_and_is_not_obeyed_either(text: str) -> None:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        print_json({text: [text]})
    shown = stream.getvalue()
    assert json.loads(shown) == {text: [text]}
    assert not {unicodedata.category(sign) for sign in shown.replace("\n", "")} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_json_fits_into_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    print_json(["дом 🦊 ö"])
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == ["дом 🦊 ö"]  # type: ignore[attr-defined]


def test_text_reaches_the_terminal_by_the_doors_alone() -> None:
    """Who prints asks `terminal` or `console`."""
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            direct = called in {f"click.{door}" for door in DOORS} | {"print", "Console", "rich.print"}
            direct |= called in {"sys.stdout.write", "sys.stderr.write"}
            assert not direct or path.name == "terminal.py", f"{path.name}:{node.lineno}: {called}"


def test_a_file_below_the_current_folder_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    here, there, url = tmp_path / "photos" / "1.jpg", tmp_path.parent / "1.jpg", "s3://bucket/1.jpg"
    assert [from_here(str(file)) for file in (here, there, url, "1.jpg")] == ["photos/1.jpg", str(there), url, "1.jpg"]


def test_a_console_shows_rich_colours_and_no_others() -> None:
    text = io.StringIO()
    console = SafeConsole(file=text, force_terminal=True, width=80, highlight=False)
    console.print_line(EVIL, style="red")
    assert text.getvalue().replace("\x1b[31m", "").replace("\x1b[0m", "") == printable(EVIL) + "\n"


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """A folder whose classes, files and own name hold what terminals obey."""
    root = tmp_path / f"photos{EVIL}"
    for label in (f"ant{EVIL}", f"bee{EVIL}"):
        (root / label).mkdir(parents=True)
        for number in range(12):
            colour = (number * 20, 50, 200 if label.startswith("ant") else 0)
            Image.new("RGB", (20, 20), colour).save(root / label / f"{number}{EVIL}.png")
        (root / label / f"broken{EVIL}.png").write_bytes(b"no image")
    return root


def safe(*texts: str) -> None:
    for text in texts:
        for line in text.split("\n"):
            assert printable(line) == line, repr(line)


@pytest.mark.usefixtures("pixels")
def test_no_command_lets_a_name_through(evil: Path, tmp_path: Path, in_process: Callable[..., tuple[str, str]]) -> None:
    cache = tmp_path / f"cache{EVIL}"

    def ask(*words: object, code: int = 0) -> str:
        out, errors = in_process(*words, "--cache", cache, code=code)
        safe(out, errors)
        assert "Traceback" not in errors
        return out + errors

    extract = ("extract", evil, "--backbone", "efficientnet_lite0", "--weights", "random:0", "--image-size", 32)
    assert "\\x1b[2J" in ask(*extract)
    ask("inspect", evil)
    ask("inspect", evil, "--json")
    ask("cache", "ls")
    assert "\\u202e" in ask("cache", "show")
    ask("cache", "show", "--json")
    ask("cache", "verify", "--canaries", 0)
    ask("cache", "gc", "--dry-run")
    ask("heads", "--head", "ridge")
    ask("leaderboard")
    bank = Bank(next(path for path in cache.iterdir() if (path / "manifest.json").is_file()))
    ask("predict", load_runs(bank)[0].run, evil, code=1)
    for wrong in (
        ("extract", f"{evil}/none", "--backbone", "efficientnet_lite0"), ("heads", "--bank", EVIL),
        ("heads", "--head", EVIL), ("heads", "--grid", f"{EVIL}.toml"), ("run", f"{EVIL}.toml"),
        ("export", EVIL, "-o", "x.keras"), ("backbones", EVIL), ("extract", "--backbone", "a", "--tap", EVIL),
    ):  # fmt: skip
        ask(*wrong, code=1)
    for wrong in ((EVIL,), ("heads", f"--{EVIL}"), ("cache", EVIL), ("heads", "--seeds", EVIL)):
        ask(*wrong, code=2)
    ask("cache", "rm", bank.name, "--yes")


@pytest.mark.heavy
def test_no_model_lets_a_name_through(
    evil: Path, tmp_path: Path, in_process: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a fine-tune to an evaluation, as people and as programs see it."""
    cache, model = tmp_path / f"cache{EVIL}", tmp_path / f"model{EVIL}.keras"

    def ask(*words: object, code: int = 0, between: str = "") -> str:
        out, errors = in_process(*words, "--cache", cache, code=code)
        out = out.replace("\x1b[0m", "").replace("\x1b[1m", "")  # the bold heads of tables
        safe(*out.split(between) if between else [out], errors)
        assert "Traceback" not in errors
        return out + errors

    ask("extract", evil, "--backbone", "tiny:network")
    ask("heads", "--head", "ridge")
    tuned = ("finetune", "--unfreeze", "last", "--epochs", 1)
    ask(*tuned, "--print-layers")
    assert "validation accuracy" in ask(*tuned)
    assert printable(model.name) in ask("export", "best", "-o", model)
    piped = ask("predict", model, evil, between="\t")
    assert {line.count("\t") for line in piped.splitlines()} == {3}
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for shown in (piped, ask("predict", model, evil)):
        assert "\\x1b" in shown
        assert "error:" in shown, "a broken file has its reason"
    ask("predict", model, evil, "--json")
    assert "\\x1b[2J" in ask("evaluate", model, evil)
    ask("evaluate", model, evil, "--json")
    ask("predict", model, f"{evil}/none", code=1)
    for wrong in (
        ("predict", f"{model}.none", evil), ("evaluate", f"{model}.none", evil), ("evaluate", model, f"{evil}/none"),
        ("finetune", "--from", EVIL, "--unfreeze", "last"), ("finetune", "--unfreeze", EVIL),
        ("finetune", "--unfreeze", "last", "-p", f"{EVIL}=1"),
        ("export", "best", "-o", f"{model}{EVIL}"), ("export", "best", "-o", model / "x.keras"),
    ):  # fmt: skip
        ask(*wrong, code=1)
    for wrong in (
        ("finetune", "--epochs", EVIL), ("finetune", "--unfreeze", "last", "--schedule", EVIL),
        ("predict", f"--{EVIL}"), ("evaluate", model, evil, "--on", EVIL),
    ):  # fmt: skip
        ask(*wrong, code=2)
