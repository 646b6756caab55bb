"""Lines and news of running tasks: workers send them as events of Dask, and the client reads them."""

from __future__ import annotations

import contextlib
import queue
import secrets
import time
from collections.abc import Iterator
from typing import Any

from featurebank import errors
from featurebank.cluster.client import Cluster, ClusterWorker
from featurebank.cluster.packages import import_distributed
from featurebank.errors import FeatureBankWarning
from featurebank.system.progress import Advance, Reporter

_DETAIL_EVERY_S = 0.5
NEWS = "news"
"""The kind of an event that is not a line for the user."""


class WorkerEvents(Reporter):
    """Runs on a worker: sends what a reporter receives to the client.

    Args:
        topic: the topic of the client.
        about: what the work is about, for lines of several tasks; empty if a line says enough.
    """

    def __init__(self, topic: str, about: str = "") -> None:
        self._topic, self._about = topic, f"{about}: " if about else ""
        self._worker, self._sent_detail = import_distributed().get_worker(), 0.0
        self._name = worker_name()

    def send(self, kind: str, text: str, category: str = "") -> None:
        """Sends an event; if the connection is lost, nobody waits for it."""
        event = {"kind": kind, "text": text, "category": category, "by": self._name}
        with contextlib.suppress(Exception):
            self._worker.log_event(self._topic, event)

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Sends the progress of a piece of work as details."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.detail(f"{what}, {min(done, total)} of {total} {unit}")

        yield advance

    def detail(self, text: str) -> None:
        """Sends how far the current piece of work is, twice a second at most."""
        if text and time.monotonic() - self._sent_detail > _DETAIL_EVERY_S:
            self._sent_detail = time.monotonic()
            self.send("detail", self._about + text)

    def say(self, line: str) -> None:
        """Sends one line of information."""
        self.send("say", self._about + line)

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        """Sends one warning."""
        self.send("warn", self._about + line, kind.__name__)


class EventReader:
    """Receives the events of the workers for one call of the client.

    Args:
        reporter: shows the lines; the same line of several workers once.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.topic = f"featurebank-{secrets.token_hex(8)}"
        """The topic that workers send to; no other call has it."""
        self._reporter, self._lines = reporter, set[str]()
        self._events: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()

    def listen(self, cluster: Cluster) -> None:
        """Begins to receive events from the workers of a cluster."""
        cluster.client.subscribe_topic(self.topic, lambda event: self._events.put(event[1]))

    def news(self) -> Iterator[tuple[str, str]]:
        """Yields text and worker of the news since the last call, and shows the lines."""
        while not self._events.empty():
            event = self._events.get()
            if event["kind"] == NEWS:
                yield event["text"], event["by"]
            elif event["kind"] == "detail":
                self._reporter.detail(f"{label(event['by'])}: {event['text']}")
            elif event["text"] not in self._lines:
                self._lines.add(event["text"])
                self._show(event)

    def _show(self, event: dict[str, Any]) -> None:
        if event["kind"] == "say":
            self._reporter.say(event["text"])
        else:
            self._reporter.warn(event["text"], getattr(errors, event["category"], FeatureBankWarning))


def worker_name() -> str:
    """Runs on a worker: returns its name."""
    return str(import_distributed().get_worker().name)


def label(worker: str) -> str:
    """Returns the name of a worker without its process."""
    return ClusterWorker("", worker, "", 1, 0).label or worker
