"""What the key of an object tells about its file."""

from __future__ import annotations

import re

_EVICTABLE = re.compile(r"(.*/)?(shard-[^/]*\.h5|[^/]*\.(head|keras|checkpoint))")
_NAMED_BY_CONTENT = re.compile(r"(.*/)?([\w.]+-)?[0-9a-f]{16,}\.(h5|npz|images|page)")
_LIVE = re.compile(r"(.*/)?(manifest|writer)\.json")


def is_evictable(key: str) -> bool:
    """Returns whether a file is a large one, which is fetched when it is needed and evicted when the mirror is full.

    Example:
        >>> is_evictable("photos/runs/1f.head"), is_evictable("photos/manifest.json")
        (True, False)
    """
    return bool(_EVICTABLE.fullmatch(key))


def is_named_by_content(key: str) -> bool:
    """Returns whether the name of a file follows from its content, so that a copy is current for ever.

    Example:
        >>> is_named_by_content("photos/items-0123456789abcdef.page"), is_named_by_content("photos/runs/1f.head")
        (True, False)
    """
    return bool(_NAMED_BY_CONTENT.fullmatch(key))


def is_live(key: str) -> bool:
    """Returns whether the newest version of a file matters: an older list does not count for it.

    Example:
        >>> is_live("photos/manifest.json"), is_live("photos/runs/1f.json")
        (True, False)
    """
    return bool(_LIVE.fullmatch(key))


def is_named_elsewhere(key: str) -> bool:
    """Returns whether the bucket is asked for a file that a recent list lacks: another file may name it already.

    Example:
        >>> is_named_elsewhere("photos/shard-0123456789abcdef0123.h5"), is_named_elsewhere("photos/runs/1f.json")
        (True, False)
    """
    return is_live(key) or is_named_by_content(key)
