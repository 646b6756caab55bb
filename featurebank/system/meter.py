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


@dataclass
class SharedTime:
    """Divides time among those that work at the same moment, in equal parts; any thread may call it.

    The times of all add up to the time in which at least one of them worked.

    Example:
        >>> shared = SharedTime()
        >>> shared.start("a")
        >>> shared.stop("a")
        >>> shared.seconds("a") > 0, shared.seconds("b")
        (True, 0.0)
    """

    _working: dict[str, int] = field(default_factory=dict)
    """The number of tasks of each that are under way."""
    _seconds: dict[str, float] = field(default_factory=dict)
    _since: float = 0.0
    """Until when time is divided."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, name: str) -> None:
        """Records that one more task of somebody has begun."""
        self._change(name, +1)

    def stop(self, name: str) -> None:
        """Records that a task of somebody has ended."""
        self._change(name, -1)

    def seconds(self, name: str) -> float:
        """Returns the time of somebody so far, in seconds; 0 for the unknown."""
        with self._lock:
            self._divide()
            return self._seconds.get(name, 0.0)

    def _change(self, name: str, difference: int) -> None:
        with self._lock:
            self._divide()
            self._working[name] = self._working.get(name, 0) + difference

    def _divide(self) -> None:
        """Divides the time since the last call among those that work."""
        now = time.perf_counter()
        active = [name for name, tasks in self._working.items() if tasks]
        for name in active:
            self._seconds[name] = self._seconds.get(name, 0.0) + (now - self._since) / len(active)
        self._since = now
