"""How busy each part of a pipeline is: the part that always works is the bottleneck."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class _Activity:
    workers: int = 0
    """Number of workers that are busy now."""
    since: float = 0.0
    """When the number of workers last changed."""
    seconds: float = 0.0
    """Busy time, summed over all workers."""
    any_seconds: float = 0.0
    """Time during which at least one worker was busy."""


@dataclass
class Meter:
    """Measures how long the parts of a pipeline work; any thread may call it.

    Example:
        >>> meter = Meter()
        >>> with meter.working("decode"):
        ...     pass
        >>> meter.share("encode", seconds=1.0)
        0.0
    """

    _parts: dict[str, _Activity] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def working(self, part: str) -> Iterator[None]:
        """Counts the time of the block as work of `part`."""
        self.start(part)
        try:
            yield
        finally:
            self.stop(part)

    def start(self, part: str) -> None:
        """Records that one more worker of a part is busy."""
        self._change(part, +1)

    def stop(self, part: str) -> None:
        """Records that one worker of a part has become idle."""
        self._change(part, -1)

    def share(self, part: str, seconds: float, workers: int = 1) -> float:
        """Returns the fraction of a period during which a part worked, from 0 to 1.

        Args:
            part: name of the part.
            seconds: length of the period.
            workers: number of parallel workers. With 1, time counts once while any worker is busy.
        """
        with self._lock:
            activity = self._parts.get(part, _Activity())
            worked = activity.any_seconds if workers == 1 else activity.seconds / workers
        return min(1.0, worked / seconds) if seconds > 0 else 0.0

    def _change(self, part: str, difference: int) -> None:
        with self._lock:
            now = time.perf_counter()
            activity = self._parts.setdefault(part, _Activity())
            if activity.workers:
                activity.seconds += (now - activity.since) * activity.workers
                activity.any_seconds += now - activity.since
            activity.workers += difference
            activity.since = now
