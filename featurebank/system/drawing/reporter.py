"""A reporter that knows which work is being done, and lets a screen draw it regularly."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from featurebank.system.drawing.bars import ShownWork
from featurebank.system.drawing.screens import Screen
from featurebank.system.progress import Advance, BestSoFar, Reporter

_DRAWN_EVERY_S = 0.25


class DrawingReporter(Reporter):
    """Shows the progress of a stage on a screen; a subclass shows the lines of `say` and `warn`.

    Args:
        screen: where the progress is drawn.
        ticks: draw regularly from a thread; otherwise call `tick`.
        clock: returns the current time in seconds.
    """

    def __init__(self, screen: Screen, *, ticks: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._ticks, self._clock = screen, ticks, clock
        self._work: list[ShownWork] = []
        self._idle = threading.Event()
        self._lock = threading.RLock()

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

    def outcome(self, text: str) -> None:
        """Shows the result of the innermost tracked work beside its bar."""
        for work in self._counted():
            work.outcome = text

    def ranking(self, places: Sequence[BestSoFar]) -> None:
        """Shows the best heads so far under the bar, or in the next line."""
        for work in self._counted():
            work.places = places  # drawn with the next frame

    def _counted(self) -> list[ShownWork]:
        """Returns the innermost countable work, if there is one."""
        return [work for work in self._work if work.total is not None][-1:]

    def failed(self, error: Exception) -> None:
        """Stops drawing."""
        with contextlib.suppress(Exception):
            self._idle.set()
            self._screen.stop()

    def tick(self) -> None:
        """Draws the current work."""
        with self._lock:
            if self._work:
                self._screen.draw(tuple(self._work), self._clock())

    @contextlib.contextmanager
    def _shown(self, work: ShownWork) -> Iterator[ShownWork]:
        with self._lock:
            self._work.append(work)
            if len(self._work) == 1 and self._ticks and not self._stopped:
                self._start_ticking()
        try:
            yield work
        finally:
            with self._lock:
                try:
                    if len(self._work) == 1:
                        self._idle.set()
                        work.finish()
                        self._screen.leave(work, self._clock())
                finally:
                    self._work.remove(work)

    def _start_ticking(self) -> None:
        """Starts the thread that draws until the outermost work ends."""
        self._idle = threading.Event()
        here = contextvars.copy_context()  # by which a notebook knows the cell that draws
        threading.Thread(target=here.run, args=(self._run, self._idle), name="progress", daemon=True).start()

    def _run(self, idle: threading.Event) -> None:
        while not idle.wait(_DRAWN_EVERY_S):
            try:
                self.tick()
            except Exception as error:  # noqa: BLE001 - an error in drawing must not stop the work
                self.stop_showing(error)
                return
