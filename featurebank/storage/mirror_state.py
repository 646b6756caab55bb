"""What a mirror knows about its files: a small database beside them, which processes share.

A file counts only while it is the one that was recorded. So a process may be killed between the rename of a file and
its record, or the other way round: the file is then fetched again.

A stranger may have written the database, as when a folder with a mirror was copied. So no key leads out of the mirror,
a value of another type does not count, and a database with other tables is made anew.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.errors import DiskFullError, StorageError
from featurebank.system import digest
from featurebank.system.backing.protocol import MIRROR_MARK
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX

DIRECTORY = MIRROR_MARK
"""Directory of the state inside the mirror, also of files that are being fetched."""
_FILE = "state.sqlite"
_BLOCK = 1 << 20
_BUSY_S = 30.0
_NOTED_EVERY_S = 60.0
"""The last use of a file is recorded at most this often."""
_TABLES = (
    "CREATE TABLE files (key TEXT PRIMARY KEY, etag TEXT, size INTEGER, inode INTEGER, moment INTEGER,"
    " digest TEXT, used REAL, evictable INTEGER) WITHOUT ROWID",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID",
)
_PART = re.compile(r"[^/\\:\x00-\x1f\x7f]+")
"""A part of a key that may become the name of a file or a folder."""
_PART_BYTES = 250
_ETAG = re.compile(r"[\x20-\x7e]{1,256}")
_MOST_INTEGER = 1 << 62


def is_plain(key: object) -> bool:
    """Returns whether a key may become a path inside the mirror; a stranger's bucket may have others.

    Example:
        >>> is_plain("bank/runs/a.json"), is_plain("bank/../../victim.txt"), is_plain(".mirror/state.sqlite")
        (True, False, False)
    """
    if not isinstance(key, str):
        return False
    parts = key.split("/")
    return all(map(_is_name, parts)) and parts[0] != DIRECTORY


def _is_name(part: str) -> bool:
    fits = len(part.encode(errors="surrogatepass")) <= _PART_BYTES
    return bool(fits and _PART.fullmatch(part) and part.strip(".")) and not part.startswith(TEMPORARY_PREFIX)


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

    @property
    def is_valid(self) -> bool:
        """Whether each value is of the kind that a mirror records."""
        return (
            all(_is_count(value) for value in (self.size, self.inode, self.moment))
            and all(isinstance(text, str) for text in (self.etag, self.digest))
            and bool(_ETAG.fullmatch(self.etag))
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < _MOST_INTEGER


class MirrorState:
    """The records of a mirror's files.

    Args:
        root: the directory of the mirror.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, root / DIRECTORY / _FILE
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
        record = FileRecord(*rows[0]) if rows else None
        return record if record and record.is_valid else None

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
            with contextlib.suppress(DiskFullError):  # a full disk can be read
                self._ask("UPDATE files SET used = ? WHERE key = ?", time.time(), key)

    def drop(self, key: str) -> None:
        """Removes the record of a file."""
        self._noted.pop(key, None)
        with contextlib.suppress(DiskFullError):  # a record without its file does not count
            self._ask("DELETE FROM files WHERE key = ?", key)

    def keys(self, prefix: str) -> list[str]:
        """Returns the keys of the recorded files that begin with a prefix."""
        rows = self._ask("SELECT key FROM files WHERE substr(key, 1, ?) = ?", len(prefix), prefix)
        return [row[0] for row in rows if is_plain(row[0])]

    def evictable(self) -> list[tuple[str, int]]:
        """Returns key and size of the files that may be evicted, the least recently used first."""
        rows = self._ask("SELECT key, size FROM files WHERE evictable ORDER BY used, key")
        return [(key, size) for key, size in rows if is_plain(key) and _is_count(size)]

    def fact(self, name: str) -> str | None:
        """Returns a fact about the mirror."""
        rows = self._ask("SELECT value FROM facts WHERE name = ?", name)
        return rows[0][0] if rows and isinstance(rows[0][0], str) else None

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
                        raise self._explained(error) from error
                    if not isinstance(error, sqlite3.OperationalError):  # damaged: all files are fetched again
                        self._remove()
        return []

    def _explained(self, error: sqlite3.DatabaseError) -> StorageError | DiskFullError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or shutil.disk_usage(self._root).free == 0:
            return DiskFullError(
                f"no space is left for '{self._path}' ({error}): everything finished so far is kept; free some space, "
                "or set FEATUREBANK_MIRROR to a directory on another disk, and run the same command again"
            )
        return StorageError(
            f"the records of the mirror '{self._root}' cannot be used ({error}): make it writable or delete it, or set "
            "FEATUREBANK_MIRROR to another directory"
        )

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if self._connection is not None and not self._path.exists():
            self.close()
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_unless_regular()
            self._connection = self._connected()
            if not self._has_tables(self._connection):
                self.close()
                self._remove()
                self._connection = self._connected()
        yield self._connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        for table in _TABLES:
            connection.execute(table.replace("TABLE", "TABLE IF NOT EXISTS", 1))
        return connection

    @staticmethod
    def _has_tables(connection: sqlite3.Connection) -> bool:
        """Returns whether a database has the tables of a mirror and nothing else: no view, no trigger."""
        return {row[0] for row in connection.execute("SELECT sql FROM sqlite_master")} == set(_TABLES)

    def _remove_unless_regular(self) -> None:
        """Deletes what is no file in the place of the database: a link, a pipe."""
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(self._path.lstat().st_mode):
                self._path.unlink()

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
