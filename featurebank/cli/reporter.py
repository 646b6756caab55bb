"""Progress on the terminal, on standard error: bars with rate and time left; plain lines where nobody watches."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from featurebank.progress import Advance, Reporter

_PATIENCE_S = 0.5
"""Work shorter than this needs no bar."""
_LINE_EVERY_S = 10.0


class TerminalReporter(Reporter):
    """Draws bars where standard error is a terminal, and writes a line every ten seconds where it is not."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Shows how far a piece of work is while the block runs."""
        tracker = (_Bar if self._console.is_terminal else _Lines)(self._console, what, total, unit)
        try:
            yield tracker.advance
        finally:
            tracker.close()

    def say(self, line: str) -> None:
        """Tells one line that helps to understand what is done."""
        self._console.print(line, style="dim", markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Tells one line that the user should act on."""
        self._console.print(f"warning: {line}", style="yellow", markup=False, soft_wrap=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {self._unit}/s" if speed else f"… {self._unit}/s", style="cyan")


class _Bar:
    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._began = time.monotonic()
        columns = (
            TextColumn("{task.description:>8}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task(what, total=total)
        self._shown = False

    def advance(self, count: int) -> None:
        if not self._shown and time.monotonic() - self._began > _PATIENCE_S:
            self._progress.start()
            self._shown = True
        self._progress.advance(self._task, count)

    def close(self) -> None:
        if self._shown:
            self._progress.stop()


class _Lines:
    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._began = self._last = time.monotonic()
        self._done = 0

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            rate = self._done / (now - self._began)
            left = (self._total - self._done) / rate
            text = f"{self._what}: {self._done} of {self._total} {self._unit}, {rate:.1f}/s, {left:.0f} s left"
            self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        pass
