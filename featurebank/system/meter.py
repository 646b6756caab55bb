"""How busy each part of a pipeline is: what limits the whole is what is always at work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class _Activity:
    workers: int = 0
    """How many are at work now."""
    since: float = 0.0
    """When the number of workers last changed."""
    seconds: float = 0.0
    """Of all workers together."""
    any_seconds: float = 0.0
    """While at least one was at work."""


@dataclass
class Meter:
    """Counts the time that parts of a pipeline work; parts and their workers may be in any thread."""

    _parts: dict[str, _Activity] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def working(self, part: str) -> Iterator[None]:
        """Counts the time of the block as work of a part."""
        self.start(part)
        try:
            yield
        finally:
            self.stop(part)

    def start(self, part: str) -> None:
        """Notes that one more worker of a part is at work."""
        self._change(part, +1)

    def stop(self, part: str) -> None:
        """Notes that a worker of a part has nothing to do."""
        self._change(part, -1)

    def share(self, part: str, seconds: float, workers: int = 1) -> float:
        """Returns which share of some time a part has worked.

        Args:
            part: its name.
            seconds: the whole time.
            workers: how many could work side by side; with one, the time counts while any was at work.
        """
        with self._lock:
            found = self._parts.get(part, _Activity())
            worked = found.any_seconds if workers == 1 else found.seconds / workers
        return min(1.0, worked / seconds) if seconds > 0 else 0.0

    def _change(self, part: str, difference: int) -> None:
        with self._lock:
            now = time.perf_counter()
            found = self._parts.setdefault(part, _Activity())
            if found.workers:
                found.seconds += (now - found.since) * found.workers
                found.any_seconds += now - found.since
            found.workers += difference
            found.since = now
