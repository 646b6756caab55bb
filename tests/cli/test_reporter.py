"""Progress: bars where somebody watches, a line now and then where nobody does, nothing for short work."""

from __future__ import annotations

import io
import os
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import run_on_terminal

from featurebank.cli.reporter import TerminalReporter
from featurebank.system.drawing import bars, screens
from featurebank.system.drawing import reporter as module
from featurebank.system.drawing.bars import ShownWork
from featurebank.system.drawing.console import SafeConsole
from featurebank.system.progress import BestSoFar, Reporter

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    """A clock that goes on when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def reporter(*, terminal: bool, verbose: bool = False) -> tuple[TerminalReporter, io.StringIO, Clock]:
    text, clock = io.StringIO(), Clock()
    console = SafeConsole(file=text, force_terminal=terminal, width=100, highlight=False)
    return TerminalReporter(verbose=verbose, ticks=False, clock=clock, console=console), text, clock


def lines_of(text: io.StringIO) -> list[str]:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue()).splitlines()


def test_the_default_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    silent = Reporter()
    with silent.track("extract", 2, "images") as advance, silent.step("loading"):
        advance(2)
        silent.detail("epoch 1")
    silent.ranking([BestSoFar("knn", 0.9, 1.0)])
    silent.say("something")
    silent.warn("something")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [True, False])
def test_short_work_shows_nothing(terminal: bool) -> None:
    found, text, clock = reporter(terminal=terminal)
    with found.track("extract", 2, "images") as advance, found.step("loading"):
        clock.now += 0.3
        found.tick()
        advance(2)
    found.tick()
    assert text.getvalue() == ""


def test_a_bar_has_count_rate_and_time_left() -> None:
    found, text, clock = reporter(terminal=True)
    with found.track("extract", 8, "images") as advance:
        clock.now += 1
        found.tick()
        advance(2)
        clock.now += 1
        advance(2)
        found.tick()
        clock.now += 2
        advance(4)
    lines = lines_of(text)
    assert re.search("extract .* 0/8 +1 s +-:--:--", lines[0])
    assert re.search("extract .* 4/8 +2.0 images/s +0:00:02", lines[-2])
    assert re.search("extract .* 8/8 +2.0 images/s +0:00:00", lines[-1])


def test_lines_for_a_log() -> None:
    found, text, clock = reporter(terminal=False)
    with found.track("heads", 4, "runs") as advance:
        for done in (0, 1, 1):
            clock.now += 10
            advance(done)
            found.tick()
            found.tick()
    assert text.getvalue().splitlines() == [
        "heads: 0 of 4 runs, 10 s",
        "heads: 1 of 4 runs, 3.0 runs/min",
        "heads: 2 of 4 runs, 4.0 runs/min, 20 s left",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_work_of_one_piece_that_takes_long_is_shown_before_it_ends(terminal: bool) -> None:
    """One slow head: no piece is done until the end."""
    found, text, clock = reporter(terminal=terminal)
    with found.track("heads", 1, "runs") as advance:
        clock.now += 12
        found.detail("epoch 3 of 15")
        found.tick()
        assert re.search("heads.* 0.*1.* 12 s.*epoch 3 of 15", lines_of(text)[0])
        advance(1)


def test_bytes_are_shown_with_their_unit() -> None:
    found, text, clock = reporter(terminal=False)
    with found.track("verify", 4_000_000, "bytes") as advance:
        advance(1_000_000)
        clock.now += 10
        advance(1_000_000)
        found.tick()
    assert text.getvalue() == "verify: 2.0 MB of 4.0 MB, 200.0 kB/s, 20 s left\n"


def test_a_step_is_named_after_a_second_and_then_with_its_seconds() -> None:
    found, text, clock = reporter(terminal=False)
    with found.step("loading resnet50"):
        for _ in range(30):
            clock.now += 1
            found.tick()
    lines = text.getvalue().splitlines()
    assert lines == ["loading resnet50", "loading resnet50: 11 s", "loading resnet50: 21 s"]


def test_a_step_leaves_nothing_on_a_terminal_but_the_work_around_it_its_bar() -> None:
    found, text, clock = reporter(terminal=True)
    with found.step("loading resnet50"):
        clock.now += 2
        found.tick()
    assert "loading resnet50 … 2 s" in lines_of(text)[0]
    assert text.getvalue().endswith("\x1b[2K")
    with found.track("extract", 2, "images") as advance:
        with found.step("loading vgg16"):
            clock.now += 2
            found.tick()
        advance(2)
    assert re.search("extract .* 2/2", lines_of(text)[-1])


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**9)), max_size=20), st.integers(0, 10**9))
def test_any_work_at_any_time_has_a_line(moments: list[tuple[float, int]], total: int) -> None:
    """No pieces, more pieces than there are, a clock that stands still: nothing is divided by zero."""
    for terminal in (True, False):
        found, _, clock = reporter(terminal=terminal)
        work = ShownWork("heads", total, "runs", clock.now)
        for seconds, count in moments:
            clock.now += seconds
            work.advance(count, clock.now)
            left, rate = work.left(clock.now), work.rate(clock.now)
            assert left is None or left >= 0
            assert rate is None or rate > 0
            found._work = [work]
            found.tick()
        found._screen.leave(work, clock.now)


def test_words_are_not_markup_and_warnings_are_marked() -> None:
    found, text, _ = reporter(terminal=False)
    found.say("loading [bold]x[/bold]")
    found.warn("class 'a' has one image only")
    assert text.getvalue().splitlines() == ["loading [bold]x[/bold]", "warning: class 'a' has one image only"]


def test_of_many_warnings_of_one_kind_three_are_shown_and_the_others_counted() -> None:
    found, text, _ = reporter(terminal=False)
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


def test_lines_for_a_log_tell_the_best_so_far() -> None:
    found, text, clock = reporter(terminal=False)
    with found.track("heads", 4, "runs") as advance:
        advance(1)
        found.ranking([BestSoFar("knn(metric=[cosine])", 0.875, 1.0), BestSoFar("ridge", 0.5, 1.0)])
        clock.now += 10
        found.tick()
    assert text.getvalue().endswith("; best so far: knn(metric=[cosine]), validation accuracy 0.8750\n")


def test_what_is_best_where_nothing_is_tracked() -> None:
    found, text, _ = reporter(terminal=True)
    found.ranking([BestSoFar("knn", 0.9, 1.0)])
    found.tick()
    assert text.getvalue() == ""


@pytest.mark.parametrize("verbose", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_fails_stops_the_drawing_and_not_the_work(
    verbose: bool, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bars, "bar", broken)
    monkeypatch.setattr(screens, "line", broken)
    monkeypatch.setattr(module, "_DRAWN_EVERY_S", 0.001)
    monkeypatch.setattr("featurebank.cli.reporter._PATIENCE_S", -1.0)
    monkeypatch.setattr(screens, "LINE_EVERY_S", -1.0)
    found, text, _ = reporter(terminal=terminal, verbose=verbose)
    found._ticks = True
    done = 0
    for _ in range(2):
        with found.track("heads", 2, "runs") as advance:
            while not found._stopped:
                time.sleep(0.001)
            advance(1)
            done += 1
    assert done == 2
    found.warn("still said")
    assert lines_of(text)[-1] == "warning: still said"
    for thread in threading.enumerate():
        if thread.name == "progress":
            thread.join()
    assert capsys.readouterr().err.count("Traceback") == verbose


GRID = """
import time
from featurebank.cli import reporter as module
from featurebank.system.progress import BestSoFar

module._PATIENCE_S = 0.1
reporter = module.TerminalReporter()
start = time.monotonic()
with reporter.track("heads", 400, "runs") as advance:
    for number in range(400):
        heads = [f"mlp(hidden_units=[512,128], dropout=0.{n}, {'x' * 99})" for n in range(5)]
        reporter.ranking([BestSoFar(head, number / 400, n) for n, head in enumerate(heads)])
        advance(1)
        time.sleep(0.0025)
    reporter.say("said while it is drawn")
    time.sleep(0.3)
reporter.say(f"took {time.monotonic() - start:.1f} s")
"""


@pytest.fixture(scope="module")
def drawn() -> str:
    """What a grid of a second draws on a terminal of 80 columns."""
    done = run_on_terminal(GRID, {**os.environ, "LINES": "24", "PYTHONPATH": str(ROOT)})
    assert done.printed == b""
    assert done.returncode == 0, done.drawn
    return done.drawn


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
    seconds = float(re.findall(r"took ([0-9.]+) s", drawn)[0])
    assert 2 <= drawn.count("best so far") <= 4 * seconds + 3, "with the first and the last frame"


def test_the_table_goes_when_the_work_is_done(drawn: str) -> None:
    """The lines are erased, and the bar is written once more without them."""
    last = drawn.rsplit("400/400", 1)[1]
    assert "mlp(" not in last
    assert "\x1b[2K" in drawn.rsplit("best so far", 1)[1]
