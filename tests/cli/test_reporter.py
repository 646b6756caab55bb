"""Progress: bars where somebody watches, a line now and then where nobody does, nothing for short work."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from featurebank.cli import reporter as module
from featurebank.cli.reporter import TerminalReporter
from featurebank.progress import Reporter


def reporter(*, terminal: bool) -> tuple[TerminalReporter, io.StringIO]:
    text = io.StringIO()
    found = TerminalReporter()
    found._console = Console(file=text, force_terminal=terminal, width=100, highlight=False)
    return found, text


def test_the_default_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    silent = Reporter()
    with silent.track("extract", 2, "images") as advance:
        advance(2)
    silent.say("something")
    silent.warn("something")
    assert capfd.readouterr() == ("", "")


def test_short_work_shows_nothing() -> None:
    found, text = reporter(terminal=True)
    with found.track("extract", 2, "images") as advance:
        advance(2)
    assert text.getvalue() == ""


def test_a_bar_has_count_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", -1.0)
    found, text = reporter(terminal=True)
    with found.track("extract", 8, "images") as advance:
        for _ in range(8):
            advance(1)
    assert "extract" in text.getvalue()
    assert "8/8" in text.getvalue()
    assert "images/s" in text.getvalue()


def test_lines_for_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.0)
    found, text = reporter(terminal=False)
    with found.track("heads", 4, "runs") as advance:
        advance(1)
        advance(3)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("heads: 1 of 4 runs, ")
    assert lines[-1].endswith("0 s left")


def test_words_are_not_markup_and_warnings_are_marked() -> None:
    found, text = reporter(terminal=False)
    found.say("loading [bold]x[/bold]")
    found.warn("class 'a' has one image only")
    assert text.getvalue().splitlines() == ["loading [bold]x[/bold]", "warning: class 'a' has one image only"]
