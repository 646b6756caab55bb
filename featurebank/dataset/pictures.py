"""Thumbnails of images for the displays of notebooks: of local files and of arrays, within a time limit.

Nothing is downloaded, and no archive is read. A picture that cannot be shown is None, whatever the reason.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from featurebank.dataset.decoding.decode import decode_thumbnail
from featurebank.dataset.sources.remote import is_url
from featurebank.dataset.spec_options import split_options
from featurebank.system.files import read_regular

if TYPE_CHECKING:
    from featurebank.dataset.core import Dataset

SIDE = 144
"""The largest side of a thumbnail in pixels."""
LIMIT_S = 1.0
"""No further thumbnail is begun after this time: a network disk may be slow."""
_MOST_BYTES = 32 << 20

_SHARES = ("//", "\\\\")
"""The start of a network share's name on Windows: a stranger's bank must not decide which servers are asked."""

Make = Callable[[], np.ndarray | None]


def thumbnails_of_files(paths: Iterable[str | None]) -> list[np.ndarray | None]:
    """Returns a thumbnail of each image file, (h, w, 3) uint8; None for a missing or unreadable one, and for None.

    Example:
        >>> thumbnails_of_files(["gone.jpg", None])
        [None, None]
    """
    return _within_time([partial(_of_file, path) for path in paths])


def thumbnails_of(dataset: Dataset, rows: Sequence[int]) -> list[np.ndarray | None] | None:
    """Returns thumbnails of some images of a dataset; None if its images are neither local files nor arrays."""
    pixels = dataset.contents.pixels
    path: Callable[[int], str] | None = getattr(pixels, "path", None)
    if path is not None:
        return thumbnails_of_files([path(row) for row in rows])
    if getattr(pixels, "in_memory", False):
        return _within_time([partial(dataset.image, row) for row in rows])
    return None


def local_paths(spec: str, ids: Sequence[str]) -> list[str | None]:
    """Returns the paths of images by the specification of their dataset, without listing it.

    Args:
        spec: the canonical specification, as "folder:/home/me/photos".
        ids: the ids of the images.

    Returns:
        The path of each image, whether it still exists or not; None where the specification does not tell.

    Example:
        >>> local_paths("folder:/photos", ["ant/1.jpg"]), local_paths("digits", ["7"])
        (['/photos/ant/1.jpg'], [None])
    """
    kind, _, argument = spec.partition(":")
    place = split_options(argument, _OPTIONS)[0] if kind in {"folder", "manifest", "lists"} else ""
    if kind != "folder" and os.path.splitext(place)[1]:  # noqa: PTH122 - strings, for a million ids
        place = os.path.dirname(place)  # noqa: PTH120
    return [_path(place, name) for name in ids]


_OPTIONS = ("layout", "path", "label", "split")


def _path(place: str, name: str) -> str | None:
    if os.path.isabs(name) or not place or is_url(place) or is_url(name):  # noqa: PTH117
        return name if os.path.isabs(name) else None  # noqa: PTH117
    return f"{place}/{name}"


def _of_file(path: str | None) -> np.ndarray | None:
    if path is None or is_url(path) or path.startswith(_SHARES):
        return None
    return decode_thumbnail(read_regular(path, _MOST_BYTES), SIDE)


def _within_time(makers: Sequence[Make]) -> list[np.ndarray | None]:
    began, found = time.monotonic(), []
    for make in makers:
        try:
            found.append(make() if time.monotonic() - began < LIMIT_S else None)
        except Exception:  # noqa: BLE001 - a damaged file fails anywhere in Pillow
            found.append(None)
    return found
