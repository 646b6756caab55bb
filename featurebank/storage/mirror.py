"""A local directory that holds the files of a cache in a bucket, as far as they were used: its mirror.

Files are written through: the bucket receives a file whole before it gets its final name here. Files are read through:
a missing one, and one that the bucket has in another version, is fetched first. So every file of the mirror can be
deleted at any time; it comes back when it is needed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from featurebank.storage.conditions import check_conditions
from featurebank.storage.keys import is_evictable, is_live, is_named_by_content, is_named_elsewhere
from featurebank.storage.known_objects import AT_ONCE, KnownObjects
from featurebank.storage.mirror_state import DIRECTORY, FileRecord, MirrorState
from featurebank.storage.objects import Expected, Objects, StoredObject
from featurebank.system.backing.protocol import ChangedElsewhereError
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX, temporary_path
from featurebank.system.files import explain_full_disk, sync
from featurebank.system.parallel import ordered_map

SMALL_BYTES = 1 << 20
"""Files up to this size are fetched as soon as they are listed, and are compared with their digest."""


class Mirror:
    """The mirror of a cache; see `Backing`, which it implements.

    Args:
        root: its directory; created if it does not exist.
        objects: the objects of the cache.
    """

    def __init__(self, root: Path, objects: Objects) -> None:
        self.root, self.objects = root, objects
        self.limit: int | None = None
        """The most bytes of large files that stay in the mirror."""
        self.state = MirrorState(root)
        self._known = KnownObjects(objects, self.state.keys, self._forget)
        self._pins: dict[str, tuple[Expected | None, str]] = {}
        self._maps: dict[str, list[weakref.ref[Any]]] = {}
        self._writable = False
        self._evicting = threading.Lock()
        with explain_full_disk(root):
            (root / DIRECTORY).mkdir(parents=True, exist_ok=True)
            self.identity = self.state.identity()

    def fetch(self, path: Path) -> bool:
        """Makes the local copy of a file current; removes it if the bucket does not hold the file."""
        key = self._key(path)
        if not key or path.is_dir() or path.name.startswith(TEMPORARY_PREFIX):
            return False
        record = self.state.trusted(key, path, thorough=not is_evictable(key))
        listed, fresh = self._known.get(key), self._known.is_fresh(key)
        if record and (is_named_by_content(key) or self._is_listed(key, record)):
            self.state.note_use(key)
            return True
        if record is None and listed is None and fresh and not is_named_elsewhere(key):
            path.unlink(missing_ok=True)
            return False
        return self._download(key, path, record)

    def fetch_small(self, paths: Iterable[Path]) -> None:
        """Fetches the small ones of listed files, several at once."""
        todo = [path for path in paths if self._is_due(path)]
        for _ in ordered_map(self.fetch, todo, name="fetching", count=AT_ONCE):
            pass

    def publish(self, temporary: Path, path: Path) -> None:
        """Puts a file into the bucket; see `Backing.publish`."""
        key = self._key(path)
        self._check_writable()
        expected, writer = self._pins.get(key, (None, ""))
        stored = self.objects.put(key, temporary, expected, writer)
        if stored is None and (mine := self.objects.written_by(writer, key)):  # Ctrl-C has hidden an answer
            stored = self.objects.put(key, temporary, Expected(mine.etag), writer)
        if stored is None:
            raise ChangedElsewhereError(errno.ESTALE, "another process has replaced it", os.fspath(path))
        if expected is not None:
            self._pins[key] = Expected(stored.etag), writer
        self._record(key, temporary, stored)

    def copy(self, source: Path, path: Path) -> None:
        """Stores a second copy inside the bucket; the local copies share their bytes."""
        key, first = self._key(path), self._key(source)
        self._check_writable()
        stored = self.objects.copy(first, key)
        if stored is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(source))
        self._known.note(key, stored)
        if self.state.trusted(first, source, thorough=False):
            with contextlib.suppress(OSError, NotImplementedError), self._temporary() as temporary:
                os.link(source, temporary)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._record(key, temporary, stored)
                temporary.replace(path)

    def exists(self, path: Path) -> bool:
        """Returns whether the bucket holds a file."""
        key = self._key(path)
        if self._known.is_fresh(key) and (self._known.get(key) or not is_named_elsewhere(key)):
            return self._known.get(key) is not None
        if is_evictable(key):
            self._known.note(key, stored := self.objects.head(key))
            return stored is not None
        return self.fetch(path)

    def refresh(self, directory: Path) -> None:
        """Lists the objects below a directory anew."""
        self._known.refresh(self._prefix(directory))

    def sizes(self, directory: Path) -> Mapping[Path, int]:
        """Returns the size of each object below a directory, from a recent list."""
        prefix = self._prefix(directory)
        return {self.root / key: stored.size for key, stored in sorted(self._known.of(prefix).items())}

    def modified(self, path: Path) -> float:
        """Returns the time of the newest object at or below a path."""
        key = self._key(path)
        listed = self._known.of(key)
        times = [one.modified for name, one in listed.items() if name == key or name.startswith(self._prefix(path))]
        if not times:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
        return max(times)

    def remove(self, path: Path) -> None:
        """Removes a file from the bucket and from the mirror."""
        key = self._key(path)
        if not path.name.startswith(TEMPORARY_PREFIX):
            self.objects.delete(key)
            self._known.note(key, None)
            self.state.drop(key)
        path.unlink(missing_ok=True)

    def remove_below(self, directory: Path, keep: Collection[str]) -> None:
        """Removes the objects below a directory, except its entries with some names."""
        prefix = self._prefix(directory)
        keys = [key for key in self._known.of(prefix) if key[len(prefix) :].partition("/")[0] not in keep]
        self.objects.delete_all(keys)
        for key in keys:
            self._known.note(key, None)
            self.state.drop(key)

    def forget_copy(self, path: Path) -> bool:
        """Deletes the local copy of a file; returns whether there was one."""
        self.state.drop(self._key(path))
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            return True
        return False

    def note_map(self, path: Path, array: Any) -> None:
        """Notes that an array maps a file, so that it is not evicted while the array lives."""
        maps = self._maps.setdefault(self._key(path), [])
        maps[:] = [one for one in maps if one() is not None]
        maps.append(weakref.ref(array._mmap))

    def read(self, path: Path) -> tuple[bytes, str] | None:
        """Reads an object; see `Backing.read`."""
        answer = self.objects.read(self._key(path))
        return answer and (answer[0], answer[1].etag)

    def replace(self, path: Path, data: bytes, version: str | None) -> str | None:
        """Replaces an object that still has a version; see `Backing.replace`."""
        self._check_writable()
        stored = self.objects.put(self._key(path), data, Expected(version))
        return stored.etag if stored else None

    def discard(self, path: Path, version: str) -> None:
        """Removes an object that still has a version."""
        self.objects.delete(self._key(path), version)
        self._known.note(self._key(path), None)

    def pin(self, path: Path) -> None:
        """From now on, `publish` replaces this object only as it is now, and `fetch` reads no older version.

        What another process has written just before, a list of the last two seconds does not show: the directory is
        listed anew.
        """
        self.refresh(path.parent)
        key = self._key(path)
        self._known.note(key, stored := self.objects.head(key))
        self._pins[key] = Expected(stored.etag if stored else None), secrets.token_hex(8)

    def unpin(self, path: Path) -> None:
        """Ends `pin`."""
        self._pins.pop(self._key(path), None)

    def used_bytes(self) -> int:
        """Returns the size of the large files in the mirror."""
        return sum(size for _, size in self.state.evictable())

    def evict(self, keep: str = "") -> None:
        """Deletes the least recently used large files until the rest fits the limit.

        A file that this process has mapped stays. Another process may have mapped one that is deleted: on Linux and
        macOS, its map stays valid until it is closed.
        """
        if self.limit is None:
            return
        with self._evicting:
            files = self.state.evictable()
            total = sum(size for _, size in files)
            for key, size in files:
                if total <= self.limit:
                    return
                if key != keep and not any(one() is not None for one in self._maps.get(key, ())):
                    with contextlib.suppress(PermissionError):  # Windows: another process has mapped it
                        self.state.drop(key)
                        (self.root / key).unlink(missing_ok=True)
                        total -= size

    def _is_listed(self, key: str, record: FileRecord) -> bool:
        """Returns whether a list shows that the local copy is current."""
        listed = self._known.get(key)
        if listed is None or listed.etag != record.etag:
            return False
        return not is_live(key) or (key not in self._pins and self._known.is_fresh(key))

    def _forget(self, key: str) -> None:
        """Deletes the copy of a file that the bucket no longer holds."""
        self.state.drop(key)
        with contextlib.suppress(OSError):  # Windows: a process has mapped it
            (self.root / key).unlink(missing_ok=True)

    def _is_due(self, path: Path) -> bool:
        key = self._key(path)
        listed = self._known.get(key)
        if listed is None or listed.size > SMALL_BYTES or is_evictable(key):
            return False
        record = self.state.trusted(key, path, thorough=True)
        return record is None or record.etag != listed.etag

    def _download(self, key: str, path: Path, record: FileRecord | None) -> bool:
        """Fetches an object unless the recorded copy is current; returns whether it exists."""
        with explain_full_disk(path), self._temporary() as temporary:
            stored = self.objects.download(key, temporary, record.etag if record else None)
            if stored is True:
                self._known.note(key, self._known_state(key, record))
            elif stored is False:
                self._known.note(key, None)
                self.state.drop(key)
                path.unlink(missing_ok=True)
            else:
                os.utime(temporary, (stored.modified, stored.modified))
                if stored.size > SMALL_BYTES:
                    sync(temporary)
                path.parent.mkdir(parents=True, exist_ok=True)
                self._record(key, temporary, stored)
                temporary.replace(path)
        return stored is not False

    def _known_state(self, key: str, record: FileRecord | None) -> StoredObject | None:
        listed = self._known.get(key)
        if record is None or (listed is not None and listed.etag == record.etag):
            return listed
        return StoredObject(record.etag, record.size, record.moment / 1e9)

    def _record(self, key: str, temporary: Path, stored: StoredObject) -> None:
        """Records a file that is renamed next; until then its record fits no file."""
        evictable = is_evictable(key)
        self.state.record(key, temporary, stored.etag, evictable=evictable)
        self._known.note(key, stored)
        if evictable:
            self.evict(keep=key)

    @contextlib.contextmanager
    def _temporary(self) -> Any:
        place = self.root / DIRECTORY
        place.mkdir(parents=True, exist_ok=True)
        temporary = temporary_path(place)
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _check_writable(self) -> None:
        """Checks once that the bucket can replace objects under conditions."""
        if not self._writable:
            check_conditions(self.objects, self.state)
            self._writable = True

    def _key(self, path: Path) -> str:
        relative = os.path.relpath(os.path.abspath(path), os.path.abspath(self.root))  # noqa: PTH100 - see backing_of
        return "" if relative == "." else Path(relative).as_posix()

    def _prefix(self, directory: Path) -> str:
        key = self._key(directory)
        return f"{key}/" if key else ""
