"""What a mirror knows about its files: a small database beside them, which processes share.

A file counts only while it is the one that was recorded. So a process may be killed between the rename of a file and
its record, or the other way round: the file is then fetched again.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.system import digest
from featurebank.system.backing.protocol import MIRROR_MARK
from featurebank.system.files import TEMPORARY_PREFIX

DIRECTORY = MIRROR_MARK
"""Directory of the state inside the mirror, also of files that are being fetched."""
_FILE = "state.sqlite"
_BLOCK = 1 << 20
_BUSY_S = 30.0
_DAY_S = 86400.0
_NOTED_EVERY_S = 60.0
"""The last use of a file is recorded at most this often."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS files (key TEXT PRIMARY KEY, etag TEXT, size INTEGER, inode INTEGER, moment INTEGER,"
    " digest TEXT, used REAL, evictable INTEGER) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
)


@dataclass(frozen=True)
class FileRecord:
    """The record of one file of a mirror."""

    etag: str
    """The version of the object that it holds."""
    size: int
    inode: int
    moment: int
    """The file's modification time in nanoseconds."""
    digest: str
    """The digest of its content."""


class MirrorState:
    """The records of a mirror's files.

    Args:
        root: the directory of the mirror.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / DIRECTORY / _FILE
        self._lock = threading.RLock()
        self._noted: dict[str, float] = {}
        self._checked: set[tuple[str, int, int]] = set()
        """The files whose digest this process has compared: key, inode and moment."""
        self._connection: sqlite3.Connection | None = None

    def trusted(self, key: str, path: Path, *, thorough: bool) -> FileRecord | None:
        """Returns the record of a file that is as it was recorded; None if it is missing or was changed.

        Args:
            key: the object's key.
            path: the file.
            thorough: also compare its digest, once in this process.
        """
        try:
            facts = path.stat()
        except OSError:
            return None
        record = self.get(key)
        if record is None or facts.st_size != record.size:
            return None
        same = (facts.st_ino, facts.st_mtime_ns) == (record.inode, record.moment)
        seen = (key, facts.st_ino, facts.st_mtime_ns)
        if same and (not thorough or seen in self._checked):
            return record
        with contextlib.suppress(OSError):
            if _digest(path) == record.digest:
                self._checked.add(seen)
                return record
        return None

    def get(self, key: str) -> FileRecord | None:
        """Returns the record of a file."""
        rows = self._ask("SELECT etag, size, inode, moment, digest FROM files WHERE key = ?", key)
        return FileRecord(*rows[0]) if rows else None

    def record(self, key: str, path: Path, etag: str, *, evictable: bool) -> None:
        """Records a file that holds a version of an object; `path` may still be its temporary name."""
        facts = path.stat()
        content = _digest(path)
        self._checked.add((key, facts.st_ino, facts.st_mtime_ns))
        self._ask(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            key, etag, facts.st_size, facts.st_ino, facts.st_mtime_ns, content, time.time(), evictable,
        )  # fmt: skip

    def note_use(self, key: str) -> None:
        """Records that a file was used now."""
        now = time.monotonic()
        if now - self._noted.get(key, -_NOTED_EVERY_S) >= _NOTED_EVERY_S:
            self._noted[key] = now
            self._ask("UPDATE files SET used = ? WHERE key = ?", time.time(), key)

    def drop(self, key: str) -> None:
        """Removes the record of a file."""
        self._noted.pop(key, None)
        self._ask("DELETE FROM files WHERE key = ?", key)

    def keys(self, prefix: str) -> list[str]:
        """Returns the keys of the recorded files that begin with a prefix."""
        rows = self._ask("SELECT key FROM files WHERE substr(key, 1, ?) = ?", len(prefix), prefix)
        return [row[0] for row in rows]

    def evictable(self) -> list[tuple[str, int]]:
        """Returns key and size of the files that may be evicted, the least recently used first."""
        return self._ask("SELECT key, size FROM files WHERE evictable ORDER BY used, key")

    def fact(self, name: str) -> str | None:
        """Returns a fact about the mirror."""
        rows = self._ask("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows else None

    def set_fact(self, name: str, value: str) -> None:
        """Records a fact about the mirror."""
        self._ask("INSERT OR REPLACE INTO facts VALUES (?, ?)", name, value)

    def identity(self) -> str:
        """Returns a text that no other mirror has, also not a copy of this one."""
        with self._lock:
            known = (self.fact("identity") or "").partition(" ")
            inode = str(self._path.stat().st_ino)
            if known[2] != inode:
                self.set_fact("identity", f"{secrets.token_hex(8)} {inode}")
                known = (self.fact("identity") or "").partition(" ")
            return known[0]

    def _ask(self, question: str, *values: Any) -> list[Any]:
        with self._lock:
            for attempt in (0, 1):
                try:
                    with self._opened() as connection:
                        return connection.execute(question, values).fetchall()
                except sqlite3.DatabaseError as error:
                    self.close()
                    if attempt:
                        raise
                    if not isinstance(error, sqlite3.OperationalError):  # damaged: all files are fetched again
                        self._remove()
        return []

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._connection is not None and not self._path.exists():
            self.close()
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for table in _TABLES:
                self._connection.execute(table)
        yield self._connection

    def close(self) -> None:
        """Closes the database; it opens again on demand."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._connection is not None:
                connection, self._connection = self._connection, None
                connection.close()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(_FILE + suffix).unlink()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return digest.of_pieces(iter(lambda: file.read(_BLOCK), b""))


def remove_leftovers(root: Path) -> None:
    """Deletes files that killed processes were fetching, a day later."""
    for path in (root / DIRECTORY).glob(f"{TEMPORARY_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY_S:
                path.unlink()
