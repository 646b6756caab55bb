"""What a person sees of a call: progress where somebody looks, warnings of Python, and lines of the log `featurebank`.

Each public function that works runs its stage inside `showing`, which is the only mechanism for this.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import NamedTuple

from featurebank.api.interruptions import whole_imports
from featurebank.errors import BadImageWarning, FeatureBankWarning
from featurebank.system.alike import MOST_ALIKE, AlikeLines
from featurebank.system.progress import SILENT, Advance, BestSoFar, Reporter, shown_by
from featurebank.system.stderr import without_tracing_advice
from featurebank.words import counted, one_line

Shown = bool | None
"""True, False, or None: only where a person looks."""

_PATIENCE_S = 1.0
"""Work that takes less time is not drawn."""
_LOGGER = "featurebank"
_MACHINERY = {__name__, "featurebank.system.progress", "contextlib", "functools"}
"""Modules through which a line passes on its way to the log."""

_progress: Shown = None
_current: contextvars.ContextVar[Reporter | None] = contextvars.ContextVar("featurebank_reporter", default=None)
_drawing = threading.Lock()
"""Held by the call that draws: two threads cannot draw on one screen."""

logging.getLogger(_LOGGER).addHandler(logging.NullHandler())


def set_progress(shown: Shown = None) -> None:
    """Sets whether calls show their progress; an argument `progress` of a call takes precedence.

    Args:
        shown: True, False, or None: only where a person looks, that is in notebooks and where standard error is a
            terminal, but not under pytest and not in worker processes.

    Raises:
        TypeError: another value.

    Example:
        >>> set_progress(False)
        >>> set_progress()  # where a person looks
    """
    global _progress  # noqa: PLW0603 - the setting belongs to the process, as its screen does
    _progress = _checked(shown, "shown")


@contextlib.contextmanager
def showing(progress: Shown = None, reporter: Reporter | None = None) -> Iterator[Reporter]:
    """Shows the progress and the warnings of a public call while the block runs.

    A call inside of another one is shown as a part of it.

    Args:
        progress: whether progress is shown; None follows `set_progress`.
        reporter: receives everything in place of the screen, of Python's warnings and of the log.

    Yields:
        The reporter for the stages of the call.

    Raises:
        TypeError: an argument is of another type.
        FeatureBankWarning: Python's filters turn a warning into an error; it is raised after the work, whose results
            are recorded.

    Example:
        >>> with showing() as reporter, reporter.step("working"):
        ...     reporter.say("nothing was done")
    """
    _checked(progress, "progress")
    if reporter is not None and not isinstance(reporter, Reporter):
        message = f"reporter is {reporter!r}: expected an instance of featurebank.system.progress.Reporter, or None"
        raise TypeError(message)
    if reporter is None and progress is None and (outer := _current.get()) is not None:
        yield outer
        return
    with contextlib.ExitStack() as stack:
        if reporter is None:
            reporter = stack.enter_context(_python_reporter(progress))
        stack.enter_context(whole_imports(_frame_outside(_MACHINERY)))
        stack.callback(_current.set, _current.get())
        _current.set(reporter)
        stack.enter_context(shown_by(reporter))
        stack.enter_context(without_tracing_advice())
        yield reporter


def announce(line: str, reporter: Reporter) -> None:
    """Says a line that a person has to see, such as what was chosen for them; prints it where progress is shown.

    Args:
        line: the line.
        reporter: the reporter of the call, from `showing`.
    """
    reporter.say(line)
    if isinstance(reporter, PythonReporter) and reporter.drawn is not SILENT:
        print(line, file=sys.stderr)  # noqa: T201 - the screen


def warn_of_skipped(skipped: Sequence[tuple[str, str]], hint: str, reporter: Reporter) -> None:
    """Warns once of all images that were left out; the command line lists them with its results.

    Args:
        skipped: id and reason of each.
        hint: where the others are.
        reporter: receives the warning.
    """
    if skipped:
        names = ", ".join(f"'{name}' ({reason})" for name, reason in skipped[:MOST_ALIKE])
        more = f" and {len(skipped) - MOST_ALIKE} more" if len(skipped) > MOST_ALIKE else ""
        line = f"{counted(len(skipped), 'image')} cannot be used: {one_line(names)}{more}; {hint}"
        reporter.warn(line, BadImageWarning)


def _checked(shown: Shown, name: str) -> Shown:
    if shown is not None and not isinstance(shown, bool):
        message = f"{name} is {shown!r}: expected True, False or None"
        raise TypeError(message)
    return shown


@contextlib.contextmanager
def _python_reporter(progress: Shown) -> Iterator[Reporter]:
    reporter = PythonReporter(_user_line())
    with _screen(_progress if progress is None else progress) as reporter.drawn:
        try:
            yield reporter
        finally:
            reporter.close()
    if reporter.refused is not None:
        raise reporter.refused


class _UserLine(NamedTuple):
    """The line of the user's code that made a call."""

    filename: str
    lineno: int
    module: str
    registry: dict[str | tuple[str, type[Warning], int], int]


def _user_line() -> _UserLine:
    """Returns the innermost line outside of this package."""
    frame = _frame_outside({_LOGGER, "contextlib"})
    if frame is None:  # called from C, at the end of the process
        return _UserLine("sys", 1, "sys", {})
    names = frame.f_globals
    registry = names.setdefault("__warningregistry__", {})
    return _UserLine(frame.f_code.co_filename, frame.f_lineno, names.get("__name__") or "<unknown>", registry)


def _frame_outside(modules: set[str]) -> FrameType | None:
    """Returns the innermost frame that is in none of these modules or packages."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and {name := frame.f_globals.get("__name__", ""), name.split(".")[0]} & modules:
        frame = frame.f_back
    return frame


class PythonReporter(Reporter):
    """Warns at the user's line and logs information; another reporter draws.

    Args:
        place: the line of the user's code.
    """

    def __init__(self, place: _UserLine) -> None:
        self.drawn: Reporter = SILENT
        self.refused: FeatureBankWarning | None = None
        """The first warning that Python's filters turned into an error."""
        self._place = place
        self._warned: dict[type[FeatureBankWarning], AlikeLines] = defaultdict(AlikeLines)

    def track(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """Shows the progress of countable work while the block runs."""
        return self.drawn.track(what, total, unit)

    def step(self, what: str) -> AbstractContextManager[None]:
        """Shows the name of the work while the block runs."""
        return self.drawn.step(what)

    def detail(self, text: str) -> None:
        """Shows the progress of the current item."""
        self.drawn.detail(text)

    def outcome(self, text: str) -> None:
        """Shows the result of the tracked work."""
        self.drawn.outcome(text)

    def ranking(self, places: Sequence[BestSoFar]) -> None:
        """Shows the best heads so far."""
        self.drawn.ranking(places)

    def say(self, line: str) -> None:
        """Logs one line under the name of the module that says it."""
        frame = _frame_outside(_MACHINERY)
        name = frame.f_globals.get("__name__", "") if frame else ""
        logging.getLogger(name if name.startswith(f"{_LOGGER}.") else _LOGGER).info("%s", line)

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        """Warns at the user's line; of many similar warnings only the first few."""
        if self._warned[kind].is_shown(line):
            self._issue(line, kind)

    def close(self) -> None:
        """Warns how many similar warnings were not shown."""
        for kind, lines in self._warned.items():
            for line in lines.rest():
                self._issue(line, kind)

    def _issue(self, line: str, kind: type[FeatureBankWarning]) -> None:
        where = self._place
        try:
            warnings.warn_explicit(line, kind, where.filename, where.lineno, where.module, where.registry)
        except FeatureBankWarning as error:
            self.refused = self.refused or error


@contextlib.contextmanager
def _screen(progress: Shown) -> Iterator[Reporter]:
    """Yields what draws: nothing if nobody looks, or if another thread draws."""
    if progress is None:
        progress = (_is_notebook() or _is_terminal()) and _is_own_screen()
    if not progress or not _drawing.acquire(blocking=False):
        yield SILENT
    else:
        try:
            yield _drawing_reporter()
        finally:
            _drawing.release()


def _drawing_reporter() -> Reporter:
    from featurebank.system.drawing.console import SafeConsole
    from featurebank.system.drawing.reporter import DrawingReporter
    from featurebank.system.drawing.screens import LogScreen, NotebookScreen, Screen, TerminalScreen

    screen: Screen
    if _is_notebook():
        screen = NotebookScreen(_PATIENCE_S)
    else:
        console = SafeConsole(stderr=True, highlight=False)
        screen = TerminalScreen(console, _PATIENCE_S, time.monotonic) if _is_terminal() else LogScreen(console)
    return DrawingReporter(screen)


def _is_notebook() -> bool:
    """Returns whether the process is the kernel of a notebook, whose cells show what IPython displays."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def _is_terminal() -> bool:
    """Returns whether standard error is a terminal on which something can be drawn in place."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # there is no standard error, or it is closed
        return False


def _is_own_screen() -> bool:
    """Returns whether this process may draw unasked: it is no worker of another one, and no test."""
    process = multiprocessing.current_process()
    return process.name == "MainProcess" and not {"PYTEST_VERSION", "PYTEST_CURRENT_TEST"} & set(os.environ)
