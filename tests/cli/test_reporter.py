"""Progress: bars where somebody watches, a line now and then where nobody does, nothing for short work."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from featurebank.cli import reporter as module
from featurebank.cli.reporter import TerminalReporter
from featurebank.progress import Place, Reporter

ROOT = Path(__file__).resolve().parents[2]


def reporter(*, terminal: bool) -> tuple[TerminalReporter, io.StringIO]:
    text = io.StringIO()
    found = TerminalReporter()
    found._console = Console(file=text, force_terminal=terminal, width=100, highlight=False)
    return found, text


def test_the_default_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    silent = Reporter()
    with silent.track("extract", 2, "images") as advance:
        advance(2)
    silent.standing([Place("knn", 0.9, 1.0)])
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


def test_of_many_warnings_of_one_kind_three_are_shown_and_the_others_counted() -> None:
    found, text = reporter(terminal=False)
    for number in range(400):
        found.warn(f"class 'c{number}' has {number % 2} images")
        if number == 200:
            found.warn("split 'test' holds no image")
    found.close()
    assert text.getvalue().splitlines() == [
        *(f"warning: class 'c{number}' has {number % 2} images" for number in range(3)),
        "warning: split 'test' holds no image",
        "warning: 397 more like this: class 'c2' has 0 images",
    ]


def test_lines_for_a_log_tell_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LINE_EVERY_S", 0.0)
    found, text = reporter(terminal=False)
    with found.track("heads", 4, "runs") as advance:
        advance(1)
        found.standing([Place("knn(metric=[cosine])", 0.875, 1.0), Place("ridge", 0.5, 1.0)])
        advance(1)
    lines = text.getvalue().splitlines()
    assert lines[0].endswith("s left")
    assert lines[1].endswith("; best so far: knn(metric=[cosine]), validation accuracy 0.8750")


def test_what_is_best_where_nothing_is_tracked(capfd: pytest.CaptureFixture[str]) -> None:
    found, text = reporter(terminal=True)
    found.standing([Place("knn", 0.9, 1.0)])
    assert text.getvalue() == ""


GRID = """
import time
from featurebank.cli import reporter as module
from featurebank.progress import Place

module._PATIENCE_S = -1.0
reporter = module.TerminalReporter()
with reporter.track("heads", 400, "runs") as advance:
    for number in range(400):
        heads = [f"mlp(hidden_units=[512,128], dropout=0.{n}, {'x' * 99})" for n in range(5)]
        reporter.standing([Place(head, number / 400, n) for n, head in enumerate(heads)])
        advance(1)
        time.sleep(0.0025)
    reporter.say("said while it is drawn")
    time.sleep(0.3)
"""


@pytest.fixture(scope="module")
def drawn() -> str:
    """What a grid of a second draws on a terminal of 80 columns."""
    pty = pytest.importorskip("pty")
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24", "PYTHONPATH": str(ROOT)}
    done = subprocess.Popen([sys.executable, "-c", GRID], stderr=terminal, stdout=subprocess.PIPE, env=environment)
    os.close(terminal)
    pieces = []
    with contextlib.suppress(OSError):  # how Linux tells that the terminal has no user any more
        while piece := os.read(control, 65536):
            pieces.append(piece)
    os.close(control)
    assert done.communicate()[0] == b""
    assert done.returncode == 0, b"".join(pieces).decode()
    return b"".join(pieces).decode()


def test_a_terminal_shows_the_best_five_under_the_bar(drawn: str) -> None:
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    assert "said while it is drawn" in text
    frame = text.split("best so far")[-1].splitlines()
    assert "val acc" in frame[0]
    rows = [line for line in frame if line.strip().startswith("mlp(")]
    assert len(rows) == 5
    assert all(len(line) <= 80 for line in rows)
    assert rows[4].split()[-2:] == ["0.9975", "4.00"]
    assert "400/400" in text


def test_a_terminal_is_drawn_four_times_a_second_at_most(drawn: str) -> None:
    assert 2 <= drawn.count("best so far") <= 4 * 1.6 + 3, "a second and a half, with its first and last frame"


def test_the_table_goes_when_the_work_is_done(drawn: str) -> None:
    """The lines are erased, and the bar is written once more without them."""
    last = drawn.rsplit("400/400", 1)[1]
    assert "mlp(" not in last
    assert "\x1b[2K" in drawn.rsplit("best so far", 1)[1]
