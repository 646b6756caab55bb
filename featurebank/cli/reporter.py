"""Progress on standard error: bars with rate and remaining time on a terminal, otherwise plain lines."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from featurebank.cli.console import SafeConsole
from featurebank.cli.terminal import echo_lines
from featurebank.system.progress import MOST_ALIKE, Advance, BestSoFar, Reporter, kind_of
from featurebank.system.runtime import tidy_bytes

_PATIENCE_S = 0.5
"""A bar appears only after this time."""
_SPOKEN_AFTER_S = 1.0
"""Without a terminal, a step is named after this time."""
_LINE_EVERY_S = 10.0
_DRAWN_EVERY_S = 0.25
_TABLE_WIDTH = 100
_BAR_WIDTH = 40
_LEAST_BAR_WIDTH = 10


@dataclass
class ShownWork:
    """Work whose progress is shown.

    Args:
        what: its name.
        total: the number of items; None if unknown.
        unit: the name of the items, in the plural.
        began: the start, in seconds of the reporter's clock, like all other times here.
    """

    what: str
    total: int | None
    unit: str
    began: float
    done: int = 0
    first: tuple[float, int] | None = None
    """The time when the first items were done, and their number; the time before that was preparation."""
    detail: str = ""
    places: Sequence[BestSoFar] = field(default_factory=tuple)
    shown: bool = False
    spoken: float | None = None
    """The time when the last line was written."""

    def advance(self, count: int, now: float) -> None:
        """Adds completed items."""
        self.done += count
        if self.first is None and count:
            self.first = now, self.done

    def rate(self, now: float) -> float | None:
        """Returns the items per second since the start, as in the final summary; None if unknown."""
        return self.done / (now - self.began) if self.done and now > self.began else None

    def left(self, now: float) -> float | None:
        """Returns the remaining seconds at the rate since the first items; None if unknown."""
        if self.total is None or self.first is None:
            return None
        if self.done >= self.total:
            return 0.0
        moment, count = self.first
        if self.done <= count or now <= moment:
            return None
        return (self.total - self.done) * (now - moment) / (self.done - count)


class TerminalReporter(Reporter):
    """Draws bars if standard error is a terminal; otherwise writes a line every ten seconds.

    Args:
        verbose: if drawing fails, show the reason.
        ticks: draw regularly from a thread; otherwise call `tick`.
        clock: returns the current time in seconds.
    """

    def __init__(
        self, *, verbose: bool = False, ticks: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = SafeConsole(stderr=True, highlight=False)
        self._verbose, self._ticks, self._clock = verbose, ticks, clock
        self._work: list[ShownWork] = []
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        self._busy = threading.Event()
        self._lock = threading.RLock()
        self._warned: Counter[str] = Counter()
        self._last_of: dict[str, str] = {}

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Shows the progress of countable work while the block runs."""
        with self._shown(ShownWork(what, total, unit, self._clock())) as work:
            yield lambda count: work.advance(count, self._clock())

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Shows the name and duration of the work while the block runs."""
        with self._shown(ShownWork(what, None, "", self._clock())):
            yield

    def detail(self, text: str) -> None:
        """Shows the progress of the current item beside the innermost tracked work."""
        for work in self._counted():
            work.detail = text

    def standing(self, places: Sequence[BestSoFar]) -> None:
        """Shows the best heads so far under the bar, or in the next line."""
        for work in self._counted():
            work.places = places  # drawn with the next frame

    def _counted(self) -> list[ShownWork]:
        """Returns the innermost countable work, if there is one."""
        return [work for work in self._work if work.total is not None][-1:]

    def say(self, line: str) -> None:
        """Shows one line of information."""
        self._console.print_line(line, style="dim")

    def warn(self, line: str) -> None:
        """Shows one warning; of many similar warnings only the first few."""
        kind = kind_of(line)
        self._warned[kind] += 1
        if self._warned[kind] <= MOST_ALIKE:
            self._last_of[kind] = line
            self._print_warning(line)

    def close(self) -> None:
        """Reports at the end of the command how many similar warnings were not shown."""
        for kind, count in self._warned.items():
            if count > MOST_ALIKE:
                self._print_warning(f"{count - MOST_ALIKE} more like this: {self._last_of[kind]}")
        self._warned.clear()

    def _print_warning(self, line: str) -> None:
        self._console.print_line(f"warning: {line}", style="yellow")

    def failed(self, error: Exception) -> None:
        """Stops drawing; with `-v`, shows the reason."""
        with contextlib.suppress(Exception):
            self._busy.clear()
            if self._live and self._live.is_started:
                self._live.stop()
        if self._verbose:
            echo_lines("".join(traceback.format_exception(error)), err=True)
            echo_lines("warning: progress is no longer shown, for the reason above; the work continues", err=True)

    def tick(self) -> None:
        """Draws the current work."""
        with self._lock:
            if not self._work:
                return
            if self._console.is_terminal:
                self._draw_bars()
            else:
                self._write_line(self._work[-1])

    @contextlib.contextmanager
    def _shown(self, work: ShownWork) -> Iterator[ShownWork]:
        with self._lock:
            self._work.append(work)
        self._start_ticking()
        try:
            yield work
        finally:
            with self._lock:
                try:
                    if len(self._work) == 1:
                        self._busy.clear()
                        self._leave_bar(work)
                finally:
                    self._work.remove(work)

    def _start_ticking(self) -> None:
        self._busy.set()
        if self._ticks and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while self._busy.wait():
            time.sleep(_DRAWN_EVERY_S)
            try:
                if self._busy.is_set():
                    self.tick()
            except Exception as error:  # noqa: BLE001 - an error in drawing must not stop the work
                self.stop_showing(error)
                return

    def _draw_bars(self) -> None:
        now = self._clock()
        for work in self._work:
            work.shown = work.shown or now - work.began > _PATIENCE_S
        if not any(work.shown for work in self._work):
            return
        if self._live is None or not self._live.is_started:
            self._live = Live(console=self._console, get_renderable=self._frame, auto_refresh=False)
            self._live.start()
        self._live.refresh()

    def _leave_bar(self, work: ShownWork) -> None:
        """Erases the drawing, except the bar of countable work: the results follow it."""
        if self._live is None or not self._live.is_started:
            return
        work.places, work.detail = (), ""
        self._live.transient = work.total is None
        self._live.stop()
        self._live = None

    def _frame(self) -> RenderableType:
        now, width = self._clock(), self._console.width
        shown = [work for work in self._work if work.shown]
        lines: list[RenderableType] = [_bar(work, now, width) for work in shown]
        if shown and shown[-1].places:
            lines.append(_table(shown[-1].places, width))
        return Group(*lines)

    def _write_line(self, work: ShownWork) -> None:
        now = self._clock()
        patience = _SPOKEN_AFTER_S if work.total is None and work.spoken is None else _LINE_EVERY_S
        if now - (work.began if work.spoken is None else work.spoken) < patience:
            return
        work.spoken = now
        self._console.print_line(_line(work, now))


def _count(work: ShownWork, between: str) -> str:
    if work.unit == "bytes":
        return f"{tidy_bytes(work.done)}{between}{tidy_bytes(work.total or 0)}"
    return f"{work.done}{between}{work.total}"


def _rate(work: ShownWork, now: float) -> str:
    rate = work.rate(now)
    if rate is None:
        return f"{now - work.began:.0f} s"
    return f"{tidy_bytes(rate)}/s" if work.unit == "bytes" else f"{rate:.1f} {work.unit}/s"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _bar(work: ShownWork, now: float, width: int) -> RenderableType:
    if work.total is None:
        return Text(f"{work.what} … {now - work.began:.0f} s", no_wrap=True, overflow="ellipsis")
    left = work.left(now)
    cells = [
        work.what, _count(work, "/"), _rate(work, now), "-:--:--" if left is None else _duration(left),
        work.detail,
    ]  # fmt: skip
    cells[0] = f"{_shortened(work.what, width - _LEAST_BAR_WIDTH - sum(len(cell) + 1 for cell in cells[1:4]) - 2):>8}"
    room = width - sum(len(cell) + 1 for cell in cells) - 1
    line = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(len(cells) + 1):
        line.add_column(no_wrap=True, overflow="ellipsis")
    wide = max(_LEAST_BAR_WIDTH, min(room, _BAR_WIDTH))
    bar = ProgressBar(max(work.total, 1), min(work.done, work.total), width=wide)
    what, count, rate, rest, detail = map(Text, cells)
    rate.stylize("cyan")
    line.add_row(what, bar, count, rate, rest, detail)
    return line


def _shortened(text: str, most: int) -> str:
    """Cuts out the middle of a long text: file names usually differ at their ends."""
    half = max(most - 1, 8) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _line(work: ShownWork, now: float) -> str:
    if work.total is None:
        return work.what if now - work.began < _LINE_EVERY_S else f"{work.what}: {now - work.began:.0f} s"
    of = _count(work, " of ") + ("" if work.unit == "bytes" else f" {work.unit}")
    left = work.left(now)
    parts = [f"{work.what}: {of}", _rate(work, now)]
    parts += [f"{left:.0f} s left"] if left is not None else []
    parts += [work.detail] if work.detail else []
    best = [f"best so far: {place.head}, validation accuracy {place.accuracy:.4f}" for place in work.places[:1]]
    return "; ".join([", ".join(parts), *best])


def _table(places: Sequence[BestSoFar], width: int) -> Table:
    """Returns the best heads as a table; the description of a head may be cut off."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", width=min(width, _TABLE_WIDTH))
    table.add_column("best so far", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("val acc", "seconds"):
        table.add_column(name, justify="right", no_wrap=True, width=len(name))
    for place in places:
        table.add_row(escape(place.head), f"{place.accuracy:.4f}", f"{place.seconds:.2f}")
    return table
