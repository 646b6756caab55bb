"""Progress and messages on standard error: bars on a terminal, otherwise plain lines."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

from featurebank.cli.terminal import echo_lines
from featurebank.errors import FeatureBankWarning
from featurebank.system.alike import AlikeLines
from featurebank.system.drawing.console import SafeConsole
from featurebank.system.drawing.reporter import DrawingReporter
from featurebank.system.drawing.screens import LogScreen, TerminalScreen

_PATIENCE_S = 0.5
"""A bar appears only after this time."""


class TerminalReporter(DrawingReporter):
    """Draws bars if standard error is a terminal; otherwise writes a line every ten seconds.

    Args:
        verbose: if drawing fails, show the reason.
        ticks: draw regularly from a thread; otherwise call `tick`.
        clock: returns the current time in seconds.
        console: standard error.
    """

    def __init__(
        self,
        *,
        verbose: bool = False,
        ticks: bool = True,
        clock: Callable[[], float] = time.monotonic,
        console: SafeConsole | None = None,
    ) -> None:
        self._console = console or SafeConsole(stderr=True, highlight=False)
        terminal = self._console.is_terminal
        super().__init__(
            TerminalScreen(self._console, _PATIENCE_S, clock) if terminal else LogScreen(self._console),
            ticks=ticks,
            clock=clock,
        )
        self._verbose = verbose
        self._warnings = AlikeLines()

    def say(self, line: str) -> None:
        """Shows one line of information."""
        self._console.print_line(line, style="dim")

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        """Shows one warning; of many similar warnings only the first few."""
        if self._warnings.is_shown(line):
            self._print_warning(line)

    def close(self) -> None:
        """Reports at the end of the command how many similar warnings were not shown."""
        for line in self._warnings.rest():
            self._print_warning(line)

    def _print_warning(self, line: str) -> None:
        self._console.print_line(f"warning: {line}", style="yellow")

    def failed(self, error: Exception) -> None:
        """Stops drawing; with `-v`, shows the reason."""
        super().failed(error)
        if self._verbose:
            echo_lines("".join(traceback.format_exception(error)), err=True)
            echo_lines("warning: progress is no longer shown, for the reason above; the work continues", err=True)
