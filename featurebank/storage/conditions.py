"""Checks once a mirror that its bucket replaces objects under conditions, on which locks and manifests rest."""

from __future__ import annotations

import contextlib
import secrets

from featurebank.errors import StorageError
from featurebank.storage.mirror_state import MirrorState
from featurebank.storage.objects import Expected, Objects
from featurebank.storage.refusals import without_conditions

_FACT = "conditional writes"
_PROBE = ".probe-"


def check_conditions(objects: Objects, state: MirrorState, *, anew: bool = False) -> None:
    """Raises StorageError unless the bucket honours If-None-Match and If-Match; remembers that it does.

    Args:
        objects: the bucket.
        state: the state of the mirror, which remembers it.
        anew: whether to check a bucket that is known to do so.

    Raises:
        StorageError: it does not, or does not answer.
        BankReadOnlyError: the credentials may not write.
    """
    known = f"{objects.endpoint} {objects.address}"
    if state.fact(_FACT) == known and not anew:
        return
    key = f"{_PROBE}{secrets.token_hex(8)}"
    first = objects.put(key, b"first", Expected(None))
    try:
        if first is None or objects.put(key, b"second", Expected(None)) is not None:
            raise StorageError(without_conditions(objects.address, "If-None-Match is ignored"))
        if objects.put(key, b"third", Expected('"0"')) is not None:
            raise StorageError(without_conditions(objects.address, "If-Match is ignored"))
        if objects.put(key, b"fourth", Expected(first.etag)) is None:
            raise StorageError(without_conditions(objects.address, "If-Match refuses the object's own ETag"))
    finally:
        with contextlib.suppress(OSError):
            objects.delete(key)
    state.set_fact(_FACT, known)
