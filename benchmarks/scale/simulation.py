"""Simulates an extraction by 1 to 256 workers, event by event, from measured times and stated assumptions.

The client first computes the digests of all files. Then each worker loads the network and takes one piece after the
other. A piece takes its measured time, longer on a slowed worker, and longer for everybody while the workers ask the
disk for more than it gives: reading and writing overlap with computing, so that the disk costs nothing until it is
full, and all pieces under way then slow down alike. A worker that fails loses its piece, which goes back to the queue,
and comes back with the network to load again. At the end a worker without work takes a second copy of a piece that is
late, and the first of the two to finish counts. The client lists all finished pieces together, now and then and at the
end.

Nothing here knows featurebank: times go in, times come out.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

CAUSES = ("digests", "load", "slow workers", "disk", "failures", "no pieces", "listing")
"""Where the time of workers goes beside computing features."""
_PACES = 64
_DRAWS = 1 << 20
"""Random draws that are in memory at once."""


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine."""

    piece_seconds: tuple[float, ...]
    """Seconds that one worker took for each of some pieces of `piece_images` images: decode, forward, write."""
    piece_images: int
    load_seconds: float
    """From the start of a worker's process until its network is ready."""
    read_bytes: float
    """Bytes of an image's file."""
    write_bytes: float
    """Bytes of an image's rows."""
    digests_per_second: float
    """Files whose digest the client computes in a second, where the disk is no limit."""
    listing_seconds: float = 0.0
    """Of one listing, however many pieces it lists."""
    listing_seconds_a_piece: float = 0.0

    @property
    def images_per_second(self) -> float:
        """Of one worker that nothing disturbs."""
        return self.piece_images * len(self.piece_seconds) / sum(self.piece_seconds)


@dataclass(frozen=True)
class Assumed:
    """What was not measured; the user's own figures belong here."""

    slowed: float = 0.02
    """Fraction of the pieces that a slowed worker computes."""
    tail: float = 1.5
    """Shape of the Pareto distribution of the slow-down; smaller is heavier, and below 2 the variance is infinite."""
    slowest: float = 20.0
    """The largest slow-down."""
    failures_per_hour: float = 0.05
    """Of one worker."""
    restart_seconds: float = 60.0
    """From a failure until the worker's process starts again."""
    disk_bytes_per_second: float = 500e6
    """Of the shared disk or bucket, for all workers together."""
    digests_known: bool = False
    """Whether the digests of the files are in the cache already."""
    late: float = 3.0
    """A piece is late after this many times the median time, and after `least_late` seconds."""
    least_late: float = 5.0
    listed_every: float = 30.0
    """Seconds between the beginnings of two listings, at least; the last one does not wait."""


@dataclass(frozen=True)
class Outcome:
    """One simulated extraction."""

    workers: int
    images: int
    seconds: float
    efficiency: float
    """Share of the workers' time in which features were computed that no disturbance threw away."""
    lost: Mapping[str, float]
    """Share of the workers' time by cause, see `CAUSES`; with the efficiency they sum to 1."""
    failures: int
    listings: int

    @property
    def images_per_second(self) -> float:
        """Images of the whole, from the command to the last listing."""
        return self.images / self.seconds


def piece_times(measured: Measured, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draws how long each piece takes: the sum of measured pieces, scaled to its number of images.

    Args:
        measured: the figures.
        sizes: (n,) images of each piece.
        random: the source of random numbers.

    Returns:
        (n,) float64 seconds.
    """
    samples = np.asarray(measured.piece_seconds)
    draws = max(1, math.ceil(sizes.max() / measured.piece_images))
    parts = np.array_split(sizes, max(1, len(sizes) * draws // _DRAWS))
    means = [random.choice(samples, (len(part), draws)).mean(axis=1) for part in parts]
    return np.concatenate(means) * sizes / measured.piece_images


class _Task(NamedTuple):
    """A piece on a worker; the heap sorts by `end`, in seconds of a disk that is never full."""

    end: float
    number: int
    worker: int
    piece: int
    began: float
    base: float
    work: float
    demand: float


@dataclass
class _Events:
    """The state of one simulation."""

    seconds: np.ndarray
    sizes: np.ndarray
    workers: int
    measured: Measured
    assumed: Assumed
    random: np.random.Generator
    now: float = 0.0
    unhindered: float = 0.0
    """Seconds that a piece would have advanced by now if it had run from the beginning; they are slower than real
    ones while the disk is full."""
    demand: float = 0.0
    """Bytes a second that the pieces under way ask for."""
    numbered: int = 0
    failures: int = 0
    listings: int = 0
    listed: int = 0
    finished: int = 0
    listing_began: float = -math.inf
    under_way: int = 0
    """Pieces that the client is listing now."""
    last_piece: float = 0.0
    lost: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAUSES, 0.0))
    """Seconds of workers."""
    tasks: list[_Task] = field(default_factory=list)
    running: dict[int, _Task] = field(default_factory=dict)
    """By worker."""
    idle: set[int] = field(default_factory=set)
    away: list[tuple[float, float]] = field(default_factory=list)
    """From when until when a worker that failed was gone or loaded its network."""
    holders: dict[int, list[int]] = field(default_factory=dict)
    """The workers that compute a piece: one, or two of which the first counts."""
    paces: deque[float] = field(default_factory=lambda: deque(maxlen=_PACES))
    """Seconds for an image of the last pieces."""
    coming: list[tuple[float, int, str, int]] = field(default_factory=list)
    """Heap of what happens at a fixed time: when, a number, "ready", "fails", "looks" or "listed", and the worker."""

    def __post_init__(self) -> None:
        self.queue = deque(range(len(self.seconds)))

    def run(self) -> Outcome:
        """Runs until every piece is listed."""
        images = int(self.sizes.sum())
        begin = 0.0 if self.assumed.digests_known else images / self._digest_rate()
        self.lost["digests"] = begin * self.workers
        self.lost["load"] = self.measured.load_seconds * self.workers
        for worker in range(self.workers):
            self._at(begin + self.measured.load_seconds, "ready", worker)
        while self.listed < len(self.seconds):
            self._next()
        useful = float(self.seconds.sum())
        total = self.now * self.workers
        self.lost["failures"] += sum(max(0.0, min(end, self.last_piece) - start) for start, end in self.away)
        self.lost["listing"] = (self.now - self.last_piece) * self.workers
        self.lost["no pieces"] = max(0.0, total - useful - sum(self.lost.values()))
        shares = {cause: seconds / total for cause, seconds in self.lost.items()}
        return Outcome(self.workers, images, self.now, useful / total, shares, self.failures, self.listings)

    def _digest_rate(self) -> float:
        return min(self.measured.digests_per_second, self.assumed.disk_bytes_per_second / self.measured.read_bytes)

    def _next(self) -> None:
        """Advances to the next event."""
        while self.tasks and self.running.get(self.tasks[0].worker) is not self.tasks[0]:
            heapq.heappop(self.tasks)  # its worker has failed
        speed = min(1.0, self.assumed.disk_bytes_per_second / self.demand) if self.running else 1.0
        ends = self.now + (self.tasks[0].end - self.unhindered) / speed if self.tasks else math.inf
        if self.coming and self.coming[0][0] < ends:
            when, _, what, worker = heapq.heappop(self.coming)
            self.unhindered += (when - self.now) * speed
            self.now = when
            {"ready": self._ready, "fails": self._fail, "looks": self._look, "listed": self._list}[what](worker)
        else:
            self.now, self.unhindered = ends, self.tasks[0].end
            self._finish(heapq.heappop(self.tasks))

    def _at(self, when: float, what: str, worker: int) -> None:
        self.numbered += 1
        heapq.heappush(self.coming, (when, self.numbered, what, worker))

    def _ready(self, worker: int) -> None:
        if self.assumed.failures_per_hour:
            self._at(self.now + self.random.exponential(3600 / self.assumed.failures_per_hour), "fails", worker)
        self._take(worker)

    def _take(self, worker: int) -> None:
        if not self.queue:
            self.idle.add(worker)
            self._look(worker)
            return
        self._start(worker, self.queue.popleft())

    def _look(self, worker: int) -> None:
        """Gives a late piece to a worker without work, or lets it look again when the next one is late."""
        if worker not in self.idle:
            return
        times = [
            (task.began + self._patience(task.piece), task.piece)
            for task in self.running.values()
            if len(self.holders[task.piece]) == 1
        ]
        if times and min(times)[0] <= self.now:
            self.idle.discard(worker)
            self._start(worker, min(times)[1])
        elif times:
            self._at(min(times)[0], "looks", worker)

    def _patience(self, piece: int) -> float:
        if not self.paces:
            return math.inf
        return max(self.assumed.least_late, self.assumed.late * float(np.median(self.paces)) * int(self.sizes[piece]))

    def _start(self, worker: int, piece: int) -> None:
        base, slower = float(self.seconds[piece]), 1.0
        if self.random.random() < self.assumed.slowed:
            slower = min(1 + self.random.pareto(self.assumed.tail), self.assumed.slowest)
        size = float(self.sizes[piece]) * (self.measured.read_bytes + self.measured.write_bytes)
        work = base * slower
        self.numbered += 1
        task = _Task(self.unhindered + work, self.numbered, worker, piece, self.now, base, work, size / work)
        self.running[worker] = task
        self.holders.setdefault(piece, []).append(worker)
        self.demand += task.demand
        heapq.heappush(self.tasks, task)

    def _leave(self, worker: int) -> _Task:
        task = self.running.pop(worker)
        self.holders[task.piece].remove(worker)
        self.demand = self.demand - task.demand if self.running else 0.0
        return task

    def _finish(self, task: _Task) -> None:
        self._leave(task.worker)
        self.lost["slow workers"] += task.work - task.base
        self.lost["disk"] += max(0.0, self.now - task.began - task.work)
        self.paces.append((self.now - task.began) / int(self.sizes[task.piece]))
        self.finished += 1
        self.last_piece = self.now
        self._begin_listing()
        for other in list(self.holders[task.piece]):
            self.lost["slow workers"] += self.now - self._leave(other).began
            self._take(other)
        self._take(task.worker)

    def _fail(self, worker: int) -> None:
        """The piece goes back to the front of the queue, where a waiting worker takes it."""
        if self.finished == len(self.seconds):
            return  # nobody needs the worker any more
        self.failures += 1
        self.idle.discard(worker)
        away = self.assumed.restart_seconds + self.measured.load_seconds
        self._at(self.now + away, "ready", worker)
        if worker in self.running:
            task = self._leave(worker)
            self.lost["failures"] += self.now - task.began
            if not self.holders[task.piece]:
                self.queue.appendleft(task.piece)
                if self.idle:
                    self._take(self.idle.pop())
        self.away.append((self.now, self.now + away))

    def _begin_listing(self) -> None:
        is_due = self.finished == len(self.seconds) or self.now - self.listing_began >= self.assumed.listed_every
        if is_due and not self.under_way and self.finished > self.listed:
            self.listing_began = self.now
            self.under_way = self.finished - self.listed
            seconds = self.measured.listing_seconds + self.measured.listing_seconds_a_piece * self.under_way
            self._at(self.now + seconds, "listed", 0)

    def _list(self, _: int) -> None:
        self.listings += 1
        self.listed += self.under_way
        self.under_way = 0
        self._begin_listing()


def simulate(
    measured: Measured,
    assumed: Assumed,
    sizes: np.ndarray,
    workers: int,
    *,
    seconds: np.ndarray | None = None,
    seed: int = 0,
) -> Outcome:
    """Simulates one extraction.

    Args:
        measured: what was measured.
        assumed: what was not.
        sizes: (n,) images of each piece.
        workers: their number.
        seconds: (n,) how long each piece takes; None draws them by `piece_times`.
        seed: of all random draws.
    """
    if seconds is None:
        seconds = piece_times(measured, sizes, np.random.default_rng([seed, 1]))
    return _Events(seconds, sizes, workers, measured, assumed, np.random.default_rng([seed, 2])).run()
