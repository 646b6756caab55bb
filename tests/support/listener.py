"""A reporter that remembers what it receives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from featurebank.errors import FeatureBankWarning
from featurebank.system.progress import Advance, Reporter


class Listener(Reporter):
    """Keeps the lines and the progress that it receives."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.done = 0

    @contextlib.contextmanager
    def track(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        def advance(count: int) -> None:
            self.done += count

        self.total = total
        yield advance

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
        self.warned.append(line)
