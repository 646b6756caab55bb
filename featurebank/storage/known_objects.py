"""What a process knows about the objects of a cache from the bucket's lists, and for how long that counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator

from featurebank.storage.mirror_state import is_plain
from featurebank.storage.objects import Objects, StoredObject
from featurebank.system.parallel import ordered_map

LISTED_S = 2.0
"""A list answers questions for this long; then the bucket is asked again."""
AT_ONCE = 16


class KnownObjects:
    """The objects of a cache, as the bucket listed them last and as this process has changed them since.

    A storage may list its newest objects late. So an object that this mirror has seen is missed only after the bucket
    was asked for it by name.

    Args:
        objects: the bucket.
        recorded: returns the keys of the mirror's files that begin with a prefix.
        forget: called with the key of an object that was there and is not any more.
    """

    def __init__(
        self, objects: Objects, recorded: Callable[[str], Collection[str]], forget: Callable[[str], None]
    ) -> None:
        self._objects, self._recorded, self._forget = objects, recorded, forget
        self._known: dict[str, StoredObject] = {}
        self._listed: dict[str, float] = {}
        """When each prefix was listed, by the local clock."""
        self._lock = threading.RLock()

    def of(self, prefix: str) -> dict[str, StoredObject]:
        """Returns the objects whose keys begin with a prefix, from a list that is at most `LISTED_S` old."""
        with self._lock:
            if not self.is_fresh(prefix):
                self._list(prefix)
            return {key: stored for key, stored in self._known.items() if key.startswith(prefix)}

    def refresh(self, prefix: str) -> None:
        """Lists the objects whose keys begin with a prefix anew."""
        with self._lock:
            self._list(prefix)

    def get(self, key: str) -> StoredObject | None:
        """Returns what is known about an object; None does not mean that it does not exist."""
        return self._known.get(key)

    def is_fresh(self, key: str) -> bool:
        """Returns whether a list that covers the key is recent."""
        now = time.monotonic()
        with self._lock:
            return any(key.startswith(prefix) and now - at <= LISTED_S for prefix, at in self._listed.items())

    def note(self, key: str, stored: StoredObject | None) -> None:
        """Notes the state of an object that the bucket has just reported; None if it does not exist."""
        with self._lock:
            if stored is None:
                self._known.pop(key, None)
            else:
                self._known[key] = stored

    def _list(self, prefix: str) -> None:
        began = time.monotonic()
        listed = {key: one for key, one in self._objects.list(prefix).items() if is_plain(key)}
        for folder in {folder for key in listed for folder in _folders(key)} & listed.keys():
            del listed[folder]  # a disk has no file whose name is that of a folder
        before = {key for key in self._known if key.startswith(prefix)} | set(self._recorded(prefix))
        missing = sorted(before - set(listed))
        answers = ordered_map(self._objects.head, missing, name="heads", count=AT_ONCE)
        for key, stored in zip(missing, answers, strict=True):
            if stored is not None:
                listed[key] = stored
        for key in before - set(listed):
            self._known.pop(key, None)
            self._forget(key)
        self._known |= listed
        self._listed = {place: at for place, at in self._listed.items() if not place.startswith(prefix)}
        self._listed[prefix] = began


def _folders(key: str) -> Iterator[str]:
    """Yields the names of the folders that the file of a key lies in."""
    while "/" in key:
        key = key.rpartition("/")[0]
        yield key
