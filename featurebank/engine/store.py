"""Holds loaded engines between extractions that follow each other with the same networks."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from featurebank.engine.catalog import Engine


class EngineKey(NamedTuple):
    """What an engine was loaded for."""

    backbone: str
    """The digest of the network."""
    engine: str
    taps: tuple[str, ...]
    batch_size: int
    precision: str


class EngineStore:
    """Holds engines that nobody uses at the moment; it is a context manager that closes them.

    Args:
        most: the largest number of engines; of more, those are closed that were used the longest ago.
    """

    def __init__(self, most: int = 8) -> None:
        self.most = most
        """The largest number of engines."""
        self._engines: dict[EngineKey, Engine] = {}

    def __enter__(self) -> EngineStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.keep_only(())

    def pop(self, key: EngineKey) -> Engine | None:
        """Returns an engine, which now belongs to the caller; None if there is none for this key."""
        return self._engines.pop(key, None)

    def add(self, key: EngineKey, engine: Engine) -> None:
        """Takes over an engine."""
        if (before := self._engines.pop(key, None)) is not None:
            before.close()
        self._engines[key] = engine
        while len(self._engines) > self.most:
            self._engines.pop(next(iter(self._engines))).close()

    def keep_only(self, backbones: Collection[str]) -> None:
        """Closes the engines of all networks but some.

        Args:
            backbones: the digests of these networks.
        """
        for key in [key for key in self._engines if key.backbone not in backbones]:
            self._engines.pop(key).close()
