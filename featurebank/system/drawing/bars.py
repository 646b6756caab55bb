"""What is drawn of running work: a bar with rate and remaining time, the best heads so far, or one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from featurebank.system.progress import BestSoFar
from featurebank.system.runtime import tidy_bytes

LINE_EVERY_S = 10.0
"""Time between two lines of text about the same work."""
_PERIODS = (1, "s"), (60, "min"), (3600, "h")
_LEAST_RATE = 0.1
"""A smaller rate is shown per minute, or per hour: .0 runs/s says nothing."""
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
    outcome: str = ""
    """The result, which replaces `detail` and stays."""
    places: Sequence[BestSoFar] = field(default_factory=tuple)
    shown: bool = False
    last_line: float | None = None
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

    def finish(self) -> None:
        """Leaves of the drawing what remains on the screen: the bar, and its result."""
        self.places, self.detail = (), ""


def frame(works: Sequence[ShownWork], now: float, width: int) -> RenderableType:
    """Returns the drawing of nested works: a bar each, and the best heads so far of the innermost one."""
    lines: list[RenderableType] = [bar(work, now, width) for work in works]
    if works and works[-1].places:
        lines.append(_table(works[-1].places, width))
    return Group(*lines)


def bar(work: ShownWork, now: float, width: int) -> RenderableType:
    """Returns one work as a line of at most `width` columns; a detail that does not fit stands in a line below."""
    if work.total is None:
        return Text(f"{work.what} … {now - work.began:.0f} s", no_wrap=True, overflow="ellipsis")
    left = work.left(now)
    cells = [
        work.what, _count(work, "/"), _rate(work, now), "-:--:--" if left is None else _duration(left),
        work.outcome or work.detail,
    ]  # fmt: skip
    cells[0] = f"{_shortened(work.what, width - _LEAST_BAR_WIDTH - sum(len(cell) + 1 for cell in cells[1:4]) - 2):>8}"
    room = width - sum(len(cell) + 1 for cell in cells) - 1
    below = cells.pop() if room < _LEAST_BAR_WIDTH else ""
    if below:
        cells.append("")
        room += len(below) + 1
    line = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(len(cells) + 1):
        line.add_column(no_wrap=True, overflow="ellipsis")
    wide = max(_LEAST_BAR_WIDTH, min(room, _BAR_WIDTH))
    filled = ProgressBar(max(work.total, 1), min(work.done, work.total), width=wide)
    what, count, rate, rest, detail = map(Text, cells)
    rate.stylize("cyan")
    line.add_row(what, filled, count, rate, rest, detail)
    return Group(line, Text(f"{'':>9}{below}", no_wrap=True, overflow="ellipsis")) if below else line


def line(work: ShownWork, now: float) -> str:
    """Returns one work as a line of text for a log."""
    if work.total is None:
        return work.what if now - work.began < LINE_EVERY_S else f"{work.what}: {now - work.began:.0f} s"
    of = _count(work, " of ") + ("" if work.unit == "bytes" else f" {work.unit}")
    left = work.left(now)
    parts = [f"{work.what}: {of}", _rate(work, now)]
    parts += [f"{left:.0f} s left"] if left is not None else []
    parts += [work.detail] if work.detail else []
    best = [f"best so far: {place.head}, validation accuracy {place.accuracy:.4f}" for place in work.places[:1]]
    return "; ".join([", ".join(parts), *best])


def _count(work: ShownWork, between: str) -> str:
    if work.unit == "bytes":
        return f"{tidy_bytes(work.done)}{between}{tidy_bytes(work.total or 0)}"
    return f"{work.done}{between}{work.total}"


def _rate(work: ShownWork, now: float) -> str:
    rate = work.rate(now)
    if rate is None:
        return f"{now - work.began:.0f} s"
    if work.unit == "bytes":
        return f"{tidy_bytes(rate)}/s"
    seconds, period = next((one for one in _PERIODS if rate * one[0] >= _LEAST_RATE), _PERIODS[-1])
    return f"{rate * seconds:.1f} {work.unit}/{period}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _shortened(text: str, most: int) -> str:
    """Cuts out the middle of a long text: file names usually differ at their ends."""
    half = max(most - 1, 8) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


def _table(places: Sequence[BestSoFar], width: int) -> Table:
    """Returns the best heads as a table; the description of a head may be cut off."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", width=min(width, _TABLE_WIDTH))
    table.add_column("best so far", no_wrap=True, overflow="ellipsis", ratio=1)
    for name in ("val acc", "seconds"):
        table.add_column(name, justify="right", no_wrap=True, width=len(name))
    for place in places:
        table.add_row(escape(place.head), f"{place.accuracy:.4f}", f"{place.seconds:.2f}")
    return table
