"""Progress on the terminal, on standard error: bars with rate and time left; plain lines where nobody watches."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from featurebank.progress import MOST_ALIKE, Advance, Place, Reporter, kind_of

_PATIENCE_S = 0.5
"""Work shorter than this needs no bar."""
_LINE_EVERY_S = 10.0
_DRAWN_A_SECOND = 4
_TABLE_WIDTH = 100


class TerminalReporter(Reporter):
    """Draws bars where standard error is a terminal, and writes a line every ten seconds where it is not."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._tracker: _Bar | _Lines | None = None
        self._warned: Counter[str] = Counter()
        self._last_of: dict[str, str] = {}

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Shows how far a piece of work is while the block runs."""
        outer, tracker = (
            self._tracker,
            (_Bar if self._console.is_terminal else _Lines)(self._console, what, total, unit),
        )
        self._tracker = tracker
        try:
            yield tracker.advance
        finally:
            tracker.close()
            self._tracker = outer

    def standing(self, places: Sequence[Place]) -> None:
        """Shows what is best so far under the bar, or in the next line."""
        if self._tracker is not None:
            self._tracker.standing(places)

    def say(self, line: str) -> None:
        """Tells one line that helps to understand what is done."""
        self._console.print(line, style="dim", markup=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        """Shows one line that the user should act on; of many lines of one kind, the first few."""
        kind = kind_of(line)
        self._warned[kind] += 1
        if self._warned[kind] <= MOST_ALIKE:
            self._last_of[kind] = line
            self._print_warning(line)

    def close(self) -> None:
        """Reports how many warnings of each kind were not shown; the command has ended."""
        for kind, count in self._warned.items():
            if count > MOST_ALIKE:
                self._print_warning(f"{count - MOST_ALIKE} more like this: {self._last_of[kind]}")
        self._warned.clear()

    def _print_warning(self, line: str) -> None:
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
        self._places: Sequence[Place] = ()
        self._live = Live(console=console, get_renderable=self._draw, refresh_per_second=_DRAWN_A_SECOND)

    def advance(self, count: int) -> None:
        if not self._live.is_started and time.monotonic() - self._began > _PATIENCE_S:
            self._live.start()
        self._progress.advance(self._task, count)

    def standing(self, places: Sequence[Place]) -> None:
        self._places = places  # drawn with the next frame

    def close(self) -> None:
        if self._live.is_started:
            self._places = ()  # the results follow; the bar alone stays
            self._live.stop()

    def _draw(self) -> RenderableType:
        bar = self._progress.get_renderable()
        return Group(bar, _table(self._places, self._live.console.width)) if self._places else bar


def _table(places: Sequence[Place], width: int) -> Table:
    """Returns the places as a table; of a long head the beginning is shown."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", width=min(width, _TABLE_WIDTH))
    made.add_column("best so far", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("val acc", "seconds"):
        made.add_column(name, justify="right", no_wrap=True, width=len(name))
    for place in places:
        made.add_row(escape(place.head), f"{place.accuracy:.4f}", f"{place.seconds:.2f}")
    return made


class _Lines:
    def __init__(self, console: Console, what: str, total: int, unit: str) -> None:
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._began = self._last = time.monotonic()
        self._done = 0
        self._best = ""

    def advance(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            rate = self._done / (now - self._began)
            left = (self._total - self._done) / rate
            text = f"{self._what}: {self._done} of {self._total} {self._unit}, {rate:.1f}/s, {left:.0f} s left"
            self._console.print(text + self._best, soft_wrap=True, markup=False)

    def standing(self, places: Sequence[Place]) -> None:
        if places:
            self._best = f"; best so far: {places[0].head}, validation accuracy {places[0].accuracy:.4f}"

    def close(self) -> None:
        pass
