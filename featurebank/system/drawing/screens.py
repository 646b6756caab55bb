"""Where progress is drawn: a terminal, a notebook, or a log of plain lines."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO, cast

from rich.console import Console
from rich.file_proxy import FileProxy
from rich.live import Live

from featurebank.system.drawing.bars import LINE_EVERY_S, ShownWork, frame, line
from featurebank.system.drawing.console import SafeConsole
from featurebank.system.stderr import beneath_drawing

_NAMED_AFTER_S = 1.0
"""In a log, a step is named after this time."""
_NOTEBOOK_WIDTH = 96
"""Columns of a drawing in a notebook; a wider one would wrap beside the sidebar of an editor."""
_NOTEBOOK_STYLE = "margin:0;white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace"


class Screen(Protocol):
    """Draws works, the outermost first; one reporter at a time uses it."""

    def draw(self, works: Sequence[ShownWork], now: float) -> None:
        """Draws the works that have begun and have not ended."""

    def leave(self, work: ShownWork, now: float) -> None:
        """Ends the drawing when the outermost work ends: the bar of countable work stays, a step disappears."""

    def stop(self) -> None:
        """Ends the drawing after an error, as far as possible."""


class TerminalScreen:
    """Draws bars in place, above which other lines of the process scroll.

    Args:
        console: standard error, which must be a terminal.
        patience: seconds after which work is shown; short work leaves no trace.
        clock: returns the current time in seconds.
    """

    def __init__(self, console: SafeConsole, patience: float, clock: Callable[[], float]) -> None:
        self._console, self._patience, self._clock = console, patience, clock
        self._works: Sequence[ShownWork] = ()
        self._live: Live | None = None

    def draw(self, works: Sequence[ShownWork], now: float) -> None:
        """Draws the works that have taken long enough."""
        self._works = works
        if not _noticed(works, now, self._patience):
            return
        if self._live is None or not self._live.is_started:
            self._live = Live(
                console=self._console, get_renderable=self._frame, auto_refresh=False, redirect_stdout=False,
                redirect_stderr=False,
            )  # fmt: skip
            self._live.start()
        self._redirect()
        self._live.refresh()

    def leave(self, work: ShownWork, now: float) -> None:
        """Erases the drawing, except the bar of countable work: the results follow it."""
        if self._live is None or not self._live.is_started:
            return
        self._works = (work,)
        self._live.transient = work.total is None
        self.stop()
        self._live = None

    def stop(self) -> None:
        """Gives the terminal back."""
        if self._live and self._live.is_started:
            _give_back()
            self._live.stop()

    def _redirect(self) -> None:
        """Makes what the process prints meanwhile scroll above the drawing; the redirection of others may end it.

        Rich's own redirection would put back the streams of the drawing's start, which may be closed by then.
        """
        if not isinstance(sys.stderr, FileProxy):
            sys.stderr = cast("TextIO", FileProxy(self._console, sys.stderr))
        if sys.stdout and sys.stdout.isatty() and not isinstance(sys.stdout, FileProxy):
            sys.stdout = cast("TextIO", FileProxy(self._console, sys.stdout))

    def _frame(self) -> Any:
        shown = [work for work in self._works if work.shown]
        return frame(shown, self._clock(), self._console.width)


class NotebookScreen:
    """Draws bars below the cell of a notebook, by the display messages that each front end understands.

    It needs no widgets, which the bars of `tqdm.auto` and of rich need: without `ipywidgets` the former fill the cell
    with a red line for each step and the latter show only a warning, and neither is in a saved notebook.

    Args:
        patience: seconds after which work is shown.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._handle: Any = None

    def draw(self, works: Sequence[ShownWork], now: float) -> None:
        """Draws the works that have taken long enough."""
        if shown := _noticed(works, now, self._patience):
            self._show(_mime_bundle(shown, now))

    def leave(self, work: ShownWork, now: float) -> None:
        """Leaves the bar of countable work, and empties the place of a step."""
        if self._handle is not None:
            self._show({"text/plain": ""} if work.total is None else _mime_bundle([work], now))
            self._handle = None

    def stop(self) -> None:
        """Forgets the drawing; the front end may be gone."""
        self._handle = None

    def _show(self, bundle: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class LogScreen:
    """Writes a line every ten seconds.

    Args:
        console: standard error.
    """

    def __init__(self, console: SafeConsole) -> None:
        self._console = console

    def draw(self, works: Sequence[ShownWork], now: float) -> None:
        """Writes a line about the innermost work, if it is time."""
        work = works[-1]
        patience = _NAMED_AFTER_S if work.total is None and work.last_line is None else LINE_EVERY_S
        if now - (work.began if work.last_line is None else work.last_line) >= patience:
            work.last_line = now
            self._console.print_line(line(work, now))

    def leave(self, work: ShownWork, now: float) -> None:
        """Leaves the lines."""

    def stop(self) -> None:
        """Leaves the lines."""


def _give_back() -> None:
    """Undoes `TerminalScreen._redirect`."""
    sys.stdout, sys.stderr = beneath_drawing(sys.stdout), beneath_drawing(sys.stderr)


def _noticed(works: Sequence[ShownWork], now: float, patience: float) -> list[ShownWork]:
    """Returns the works that are shown: those that have taken longer than `patience` once stay."""
    for work in works:
        work.shown = work.shown or now - work.began > patience
    return [work for work in works if work.shown]


def _mime_bundle(works: Sequence[ShownWork], now: float) -> dict[str, str]:
    """Returns a drawing as HTML and as plain text."""
    console = SafeConsole(
        file=io.StringIO(), record=True, width=_NOTEBOOK_WIDTH, color_system="truecolor", force_terminal=True,
        force_jupyter=False, legacy_windows=False, highlight=False,
    )  # fmt: skip
    console.print(frame(works, now, _NOTEBOOK_WIDTH))
    html = Console.export_html(
        console, inline_styles=True, clear=False, code_format=f'<pre style="{_NOTEBOOK_STYLE}">{{code}}</pre>'
    )
    return {"text/html": html, "text/plain": console.export_text()}
