"""Lists the shards of finished pieces in the manifest of their bank, while the caller holds the lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.bank.index import Finder, first_bits
from featurebank.bank.pieces.notes import PieceNote, SkippedImage, read_notes, remove_notes
from featurebank.bank.shard import ShardEntry, read_keys
from featurebank.bank.writer import BankWriter, event
from featurebank.errors import BankDamagedError


@dataclass(frozen=True)
class Adoption:
    """The finished pieces of a bank, whose shards are now listed."""

    notes: tuple[PieceNote, ...] = ()
    skipped: tuple[SkippedImage, ...] = ()
    """The images that could not be used, by digest; each once."""
    rows: int = 0
    """The number of rows that were not listed before."""


def adopt_pieces(writer: BankWriter, warn: Callable[[str], None] = lambda line: None) -> Adoption:
    """Lists the shards of all finished pieces of a bank that have rows which the bank lacks.

    The notes stay; see `remove_notes`.

    Args:
        writer: the writer of the bank.
        warn: receives one line for each note that cannot be used; its rows count as not there. A note whose shards are
            missing, damaged or of another kind is deleted.
    """
    read = read_notes(writer.path, writer.manifest.key)
    for line in read.problems:
        warn(line)
    fitting = _Fitting(writer)
    listed = {shard.file for shard in writer.manifest.shards}
    new: dict[str, tuple[ShardEntry, np.ndarray]] = {}
    used = []
    for note in read.notes:
        try:
            keys = [fitting.keys(shard) for shard in note.shards if shard.file not in listed]
        except (BankDamagedError, ValueError) as error:
            warn(f"piece '{note.key}' does not count, and is computed again: {error}")
            remove_notes(writer.path, [note])
            continue
        used.append(note)
        entries = (shard for shard in note.shards if shard.file not in listed)
        new |= {shard.file: (shard, column) for shard, column in zip(entries, keys, strict=True)}
    needed = fitting.needed(new)
    useful = {name: pair for name, pair in new.items() if name in needed}
    rows = sum(shard.rows for shard, _ in useful.values())
    if useful:
        notes = [note for note in used if note.files & useful.keys()]
        writer.adopt([shard for shard, _ in useful.values()], [column for _, column in useful.values()], _event(notes))
    skipped = {one.digest: one for note in used for one in note.skipped}
    return Adoption(tuple(used), tuple(skipped[digest] for digest in sorted(skipped)), rows)


class _Fitting:
    """Checks shards against the rows that a bank has.

    Args:
        writer: the writer of the bank.
    """

    def __init__(self, writer: BankWriter) -> None:
        self._path, self._contents = writer.path, writer.contents
        self._stored: dict[tuple[str, int], Finder] = {}
        self._kinds = {
            tap: (stored.shape, stored.dtype) for shard in writer.manifest.shards for tap, stored in shard.taps.items()
        }

    def keys(self, shard: ShardEntry) -> np.ndarray:
        """Returns the row keys of a shard: (rows,) of `KEY_DTYPE`.

        Raises:
            BankDamagedError: the file is missing, or it is not the one that its note describes.
            ValueError: its rows have another shape or dtype than those of the bank.
        """
        keys = read_keys(self._path, shard)
        for tap, stored in shard.taps.items():
            known = self._kinds.setdefault(tap, (stored.shape, stored.dtype))
            if known != (stored.shape, stored.dtype):
                message = (
                    f"tap '{tap}' of shard '{shard.file}' has rows of {list(stored.shape)} {stored.dtype}, and the "
                    f"bank has rows of {list(known[0])} {known[1]}"
                )
                raise ValueError(message)
        return keys

    def needed(self, shards: Mapping[str, tuple[ShardEntry, np.ndarray]]) -> set[str]:
        """Returns the names of the shards with rows that neither the bank nor a larger one of these shards has.

        A piece and its halves may both be done: one process was killed, and another began with the whole again.

        Args:
            shards: the entry and the row keys of each shard, by its name.
        """
        kinds: dict[tuple[str, int], dict[str, np.ndarray]] = {}
        for name, (shard, keys) in sorted(shards.items(), key=lambda item: (-item[1][0].rows, item[0])):
            for tap in shard.taps:
                kinds.setdefault((tap, shard.view), {})[name] = keys["digest"]
        names = [self._with_new_rows(self._finder(*kind), columns) for kind, columns in kinds.items()]
        return {name for some in names for name in some}

    def _with_new_rows(self, stored: Finder, columns: Mapping[str, np.ndarray]) -> set[str]:
        """Returns the names of the shards, of one kind, with rows that are neither stored nor in an earlier shard."""
        words = np.sort(np.concatenate([first_bits(digests) for digests in columns.values()]))
        if not (words[1:] == words[:-1]).any():  # no row is in two shards
            return {name for name, digests in columns.items() if (stored.find(digests) < 0).any()}
        digests = np.concatenate(list(columns.values()))
        first = Finder(digests).find(digests) == np.arange(len(digests))
        owners = np.repeat(np.array(list(columns)), [len(digests) for digests in columns.values()])
        return set(owners[first & (stored.find(digests) < 0)].tolist())

    def _finder(self, tap: str, view: int) -> Finder:
        if (tap, view) not in self._stored:
            self._stored[tap, view] = Finder(self._contents.stored(tap, view))
        return self._stored[tap, view]


def _event(notes: Sequence[PieceNote]) -> Mapping[str, Any]:
    """Returns the event of pieces for the history of the bank: their sums, and all values of each text."""
    parts = [note.event for note in notes]
    return event(
        added=sum(part.get("images", 0) for part in parts),
        computed=sum(part.get("computed", 0) for part in parts),
        pieces=len(notes),
        seconds=round(sum(part.get("seconds", 0) for part in parts), 3),
        engine=_joined(part.get("engine") for part in parts),
        precision=_joined(part.get("precision") for part in parts),
        machines=dict(sorted(Counter(part.get("host") or "unknown" for part in parts).items())),
        versions=dict(parts[0].get("versions", {})),
        **({"cosine_to_float32": parts[0]["cosine_to_float32"]} if "cosine_to_float32" in parts[0] else {}),
    )


def _joined(values: Iterable[str | None]) -> str | None:
    counts = Counter(value for value in values if value)
    return ", ".join(sorted(counts)) or None
