"""What a person sees of a call of Python: bars where somebody looks, warnings at the user's line, lines of the log."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from terminals import run_on_terminal

import featurebank as fb
from featurebank.api import display
from featurebank.api.display import set_progress, showing
from featurebank.errors import BadImageWarning, BankWarning, DatasetWarning, FeatureBankWarning
from featurebank.system import progress
from featurebank.system.drawing import reporter as drawing
from featurebank.system.progress import BestSoFar, Reporter

ROOT = Path(__file__).resolve().parents[2]


class Collected(Reporter):
    """A user's reporter."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, what: str) -> Any:
        self.lines.append(f"step {what}")
        return contextlib.nullcontext()

    def say(self, line: str) -> None:
        self.lines.append(line)

    def warn(self, line: str) -> None:  # type: ignore[override]
        self.lines.append(f"warning {line}")


# ------------------------------------------------------------ warnings and the log


def test_a_warning_is_given_at_the_line_of_the_call() -> None:
    with pytest.warns(BankWarning, match="a shard is damaged") as caught, showing() as reporter:
        reporter.warn("a shard is damaged", BankWarning)
    assert caught[0].filename == __file__
    line = Path(__file__).read_text(encoding="utf-8").splitlines()[caught[0].lineno - 1]
    assert "showing() as reporter" in line


@pytest.mark.usefixtures("pixels")
def test_images_that_are_left_out_are_told_at_the_line_of_the_user(photos: Path, lite: Any, tmp_path: Path) -> None:
    for number in range(4):
        (photos / "ant" / f"broken{number}.jpg").write_bytes(b"no image")
    with pytest.warns(BadImageWarning, match=r"4 images cannot be used: 'ant/broken0.jpg' .* and 1 more;") as caught:
        bank = fb.extract(photos, lite, cache=tmp_path / "cache")
    [warning] = [one for one in caught if one.category is BadImageWarning]
    assert warning.filename == __file__
    assert len(bank.skipped) == 4


def test_a_warning_of_another_thread_is_given_there_too() -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.warns(FeatureBankWarning, match="no weights") as caught,
        showing() as reporter,
    ):
        pool.submit(reporter.warn, "no weights").result()
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        (DatasetWarning, "", ["b"]),
        (BadImageWarning, "", ["b"]),
        (FeatureBankWarning, "", []),
        (UserWarning, "b", ["a"]),
    ],
)  # fmt: skip
def test_filters_hide_a_kind_or_a_message(kind: type[Warning], message: str, shown: list[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message, kind)
        with showing() as reporter:
            reporter.warn("a", BadImageWarning)
            reporter.warn("b", BankWarning)
    assert [str(one.message) for one in caught] == shown


def test_a_filter_that_raises_lets_the_work_end_first() -> None:
    done = []

    def broken() -> None:
        with showing() as reporter:
            reporter.warn("4 images are broken", BadImageWarning)
            done.append("saved")

    with warnings.catch_warnings():
        warnings.simplefilter("error", BadImageWarning)
        with pytest.raises(BadImageWarning, match="4 images"):
            broken()
    assert done == ["saved"]


def test_of_many_warnings_of_one_kind_three_are_shown_and_the_others_counted() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with showing() as reporter:
            for number in range(50):
                reporter.warn(f"class 'c{number}' has one image", DatasetWarning)
    assert [str(one.message) for one in caught][-2:] == [
        "class 'c2' has one image", "47 more like this: class 'c2' has one image",
    ]  # fmt: skip
    assert {one.category for one in caught} == {DatasetWarning}
    assert len(caught) == 4


def test_information_is_logged_under_the_module_that_says_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="featurebank"), showing() as reporter:
        reporter.say("50 % of 12 runs")
        exec("reporter.say('from a stage')", {"reporter": reporter, "__name__": "featurebank.grid.stage"})
    assert [(one.name, one.getMessage()) for one in caplog.records] == [
        ("featurebank", "50 % of 12 runs"),
        ("featurebank.grid.stage", "from a stage"),
    ]


def test_nothing_is_printed_and_the_root_logger_stays_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    code = (
        "import logging, featurebank.api.display as d\n"
        "with d.showing() as r, r.step('loading'), r.track('extract', 2, 'images') as advance:\n"
        "    r.say('line'); advance(2)\n"
        "logging.getLogger('featurebank').error('of a library'); assert not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------ whose reporter


def test_a_reporter_of_the_user_receives_everything() -> None:
    collected = Collected()
    with showing(True, collected) as reporter, progress.step("loading"):
        reporter.say("line")
        reporter.warn("line", BankWarning)
    assert collected.lines == ["step loading", "line", "warning line"]


def test_a_call_inside_of_a_call_is_a_part_of_it() -> None:
    with showing() as outer, showing() as inner:
        assert inner is outer
    with showing() as other:
        assert other is not outer


def test_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="progress is 'yes': expected True, False or None"), showing("yes"):  # type: ignore[arg-type]
        pass
    with pytest.raises(TypeError, match="reporter is 3: expected an instance"), showing(reporter=3):  # type: ignore[arg-type]
        pass
    with pytest.raises(TypeError, match="shown is 0: expected True, False or None"):
        set_progress(0)  # type: ignore[arg-type]


# ------------------------------------------------------------ where it is drawn


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A terminal at which a person looks, and no test."""
    text = io.StringIO()
    text.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(display, "_is_own_screen", lambda: True)
    monkeypatch.setattr(display, "_PATIENCE_S", -1.0)
    monkeypatch.setattr(drawing, "_DRAWN_EVERY_S", 1e9)
    yield text
    set_progress()


def work(stderr: io.StringIO | None, shown: bool | None = None) -> None:
    with contextlib.redirect_stderr(stderr), showing(shown) as reporter, reporter.track("heads", 2, "runs") as advance:
        advance(2)
        reporter.ranking([BestSoFar("knn(n_neighbors=5)", 0.875, 0.1)])
        if display.SILENT is not reporter.drawn:  # type: ignore[attr-defined]
            reporter.drawn.tick()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("setting", "argument", "shown"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False), (None, False, False)],
)
def test_the_argument_goes_before_the_setting(
    watched: io.StringIO, setting: bool | None, argument: bool | None, shown: bool
) -> None:
    set_progress(setting)
    work(watched, argument)
    assert ("knn(n_neighbors=5)" in watched.getvalue()) == shown
    assert ("2/2" in watched.getvalue()) == shown


def test_a_bar_has_rate_time_left_and_the_best_so_far_and_remains_alone(watched: io.StringIO) -> None:
    work(watched)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", watched.getvalue())
    assert re.search(r"heads ━+ +2/2 .*runs/s 0:00:00", text)
    assert "best so far" in text
    assert "knn" not in text.splitlines()[-1]


def test_work_under_a_second_is_not_drawn(watched: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "_PATIENCE_S", 1.0)
    work(watched)
    assert watched.getvalue() == ""


@pytest.mark.parametrize("why", ["pipe", "dumb", "pytest", "worker", "closed", "none"])
def test_nobody_looks(why: str, watched: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    if why in {"pytest", "worker"}:
        monkeypatch.undo()
        monkeypatch.setattr(display, "_PATIENCE_S", -1.0)
        monkeypatch.setenv("TERM", "xterm")
    if why == "worker":
        monkeypatch.delenv("PYTEST_VERSION", raising=False)
        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
        monkeypatch.setattr("multiprocessing.current_process", lambda: SimpleNamespace(name="ForkProcess-1"))
    if why == "pipe":
        watched.isatty = lambda: False  # type: ignore[method-assign]
    if why == "closed":
        watched.isatty = _raise_value_error  # type: ignore[method-assign]
    if why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    work(None if why == "none" else watched)
    assert watched.getvalue() == ""


def _raise_value_error() -> bool:
    raise ValueError


def test_two_threads_do_not_draw_on_one_screen(watched: io.StringIO) -> None:
    with contextlib.redirect_stderr(watched), showing():
        thread = threading.Thread(target=work, args=(watched,))
        thread.start()
        thread.join()
    assert watched.getvalue() == ""
    work(watched)
    assert "2/2" in watched.getvalue()


class Shell:
    """What IPython has in a notebook."""

    kernel = object()


class Cell:
    """The place under a cell where a drawing is displayed and replaced."""

    def __init__(self, *, broken: bool = False) -> None:
        self.shown: list[dict[str, str]] = []
        self.broken = broken

    def display(self, bundle: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.update(bundle, raw=True)
        return self

    def update(self, bundle: dict[str, str], *, raw: bool) -> None:
        if self.broken:
            raise OSError("the front end is gone")
        self.shown.append(bundle)


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch, watched: io.StringIO) -> Cell:
    place = Cell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=Shell))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=place.display))  # type: ignore[arg-type]
    return place


def test_a_notebook_shows_the_same_as_html_and_as_text(cell: Cell, watched: io.StringIO) -> None:
    work(watched)
    first, last = cell.shown
    assert "knn(n_neighbors=5)" in first["text/html"]
    assert "2/2" in last["text/html"]
    assert "2/2" in last["text/plain"]
    assert "knn" not in last["text/html"]
    assert watched.getvalue() == ""


def test_what_names_hold_is_text_in_a_notebook(cell: Cell) -> None:
    with showing() as reporter, reporter.step("loading <script>alert(1)</script>\x1b[2J"):
        reporter.drawn.tick()  # type: ignore[attr-defined]
    assert "&lt;script&gt;" in cell.shown[0]["text/html"]
    assert "<script" not in cell.shown[0]["text/html"]
    assert cell.shown[-1] == {"text/plain": ""}, "a step leaves nothing"


def test_a_broken_front_end_ends_no_work(cell: Cell) -> None:
    cell.broken = True
    done = []
    for _ in range(2):
        with showing() as reporter, reporter.track("heads", 2, "runs") as advance:
            advance(2)
            done.append(True)
    assert len(done) == 2


SCRIPT = """
import sys, time
from featurebank.api import display
display._PATIENCE_S = .05
with display.showing() as reporter:
    with reporter.track("extract", 4, "images") as advance:
        for _ in range(4):
            time.sleep(.15); advance(1); print("printed", flush=True)
        reporter.warn("4 images are broken")
"""


def test_a_script_draws_on_a_terminal_and_its_output_is_its_own() -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    script = run_on_terminal(SCRIPT, environment | {"PYTHONPATH": str(ROOT)})
    assert script.printed.decode().split() == ["printed"] * 4
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", script.drawn)
    assert re.search(r"extract ━+ 4/4 .* images/s", drawn)
    assert "FeatureBankWarning: 4 images are broken" in drawn
    assert all(len(line) <= 80 for line in drawn.splitlines())
