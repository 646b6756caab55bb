"""Thumbnails of images for notebooks and pages: of local files and of arrays, within a time limit.

Nothing is downloaded, and no archive is read. A picture that cannot be shown is None, or the reason in words.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from featurebank.dataset.decoding.decode import decode_thumbnail
from featurebank.dataset.fingerprint import Pixels, RedirectedPixels
from featurebank.dataset.readers.column_names import KNOWN
from featurebank.dataset.remote.fetching import is_url
from featurebank.dataset.spec_options import split_options
from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import BadImageError, LostImageError
from featurebank.system import digest
from featurebank.system.files import read_regular
from featurebank.system.parallel import ordered_map
from featurebank.words import one_line

if TYPE_CHECKING:
    from featurebank.dataset.core import Dataset

SIDE = 144
"""The largest side of a thumbnail in pixels."""
LIMIT_S = 1.0
"""No further thumbnail is begun after this time: a network disk may be slow."""
_MOST_BYTES = 32 << 20

_SLASHES = "/\\"
"""Two of them begin the name of a network share on Windows."""

Make = Callable[[], np.ndarray | None]
PictureSource = Callable[[int], np.ndarray] | str
"""Returns the thumbnail of an image, (h, w, 3) uint8 with a largest side in pixels; or the reason why there is none."""

CHANGED = "the image has changed since its features were computed"


def thumbnails_of_files(paths: Iterable[str | None]) -> list[np.ndarray | None]:
    """Returns a thumbnail of each image file, (h, w, 3) uint8; None for a missing or unreadable one, and for None.

    Example:
        >>> thumbnails_of_files(["gone.jpg", None])
        [None, None]
    """
    return _within_time([partial(_of_file, path) for path in paths])


def thumbnails_of(dataset: Dataset, rows: Sequence[int]) -> list[np.ndarray | None] | None:
    """Returns thumbnails of some images of a dataset; None if none of them is a local file or an array."""
    makers = [_maker(dataset, row) for row in rows]
    return _within_time(makers) if not makers or any(maker is not _nothing for maker in makers) else None


def path_of(dataset: Dataset, row: int) -> str | None:
    """Returns the path or the URL of an image of a dataset; None if it is not a file of its own."""
    pixels, place = _source(dataset, row)
    path: Callable[[int], str] | None = getattr(pixels, "path", None)
    return None if path is None else path(place)


def _source(dataset: Dataset, row: int) -> tuple[Pixels, int]:
    """Returns what holds an image, and its place there: of a subset, the pixels of the whole dataset."""
    pixels, place = dataset.contents.pixels, row
    while isinstance(pixels, RedirectedPixels):
        pixels, place = pixels.at(place)
    return pixels, place


def _maker(dataset: Dataset, row: int) -> Make:
    path = path_of(dataset, row)
    if path is not None:
        return partial(_of_file, path)
    return partial(dataset.image, row) if getattr(_source(dataset, row)[0], "in_memory", False) else _nothing


def _nothing() -> None:
    """Makes no thumbnail."""


def is_local(path: str) -> bool:
    """Returns whether a path names a file of this machine: a stranger's bank must not decide which servers are asked.

    Example:
        >>> is_local("/photos/1.jpg"), is_local("https://host/1.jpg"), is_local("/" + chr(92) + "host/photos/1.jpg")
        (True, False, False)
    """
    return not is_url(path) and not (len(path) > 1 and path[0] in _SLASHES and path[1] in _SLASHES)


def picture_of_file(path: str | None, expected: bytes) -> PictureSource:
    """Returns the source of the picture of a file.

    Args:
        path: the file; None if it is not known.
        expected: the digest of its content: the picture of another content is not shown.
    """
    if path is None or not is_local(path):
        return "the image is not a file on this machine"

    def read(side: int) -> np.ndarray:
        data = read_regular(path, _MOST_BYTES)
        if digest.of_bytes(data).encode() != expected:
            raise LostImageError(CHANGED)
        return decode_thumbnail(data, side)

    return read


def picture_of(dataset: Dataset, row: int | None, expected: bytes) -> PictureSource:
    """Returns the source of the picture of an image of a dataset.

    Args:
        dataset: the dataset.
        row: the row of the image; None if the dataset does not have it any more.
        expected: the digest of its content.
    """
    if row is None:
        return "the image is no longer in the dataset"
    if (path := path_of(dataset, row)) is not None:
        return picture_of_file(path, expected)
    pixels, place = _source(dataset, row)
    if not getattr(pixels, "in_memory", False):
        return "the image is neither a file of its own nor in memory"

    def read(side: int) -> np.ndarray:
        if pixels.digest(place).encode() != expected:
            raise LostImageError(CHANGED)
        small = Image.fromarray(pixels.image(place, None))
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        return np.asarray(small)

    return read


def read_pictures(
    sources: Sequence[PictureSource], sides: Sequence[int], *, limit_s: float, progress: Callable[[int], None]
) -> list[np.ndarray | str]:
    """Reads thumbnails in threads.

    Args:
        sources: where each image comes from.
        sides: the largest side of each thumbnail in pixels.
        limit_s: no further image is read after so many seconds.
        progress: called with the number of further images that are done.

    Returns:
        (h, w, 3) uint8 each, or the reason why there is no picture.
    """
    began = time.monotonic()

    def read(pair: tuple[PictureSource, int]) -> np.ndarray | str:
        source, side = pair
        if isinstance(source, str):
            return source
        late = time.monotonic() - began > limit_s
        return f"it was not read within {limit_s:g} s" if late else _picture_or_reason(source, side)

    images = []
    for image in ordered_map(read, zip(sources, sides, strict=True), name="pictures"):
        images.append(image)
        progress(1)
    return images


def _picture_or_reason(source: Callable[[int], np.ndarray], side: int) -> np.ndarray | str:
    try:
        return source(side)
    except BadImageError as error:
        return one_line(error)
    except (FileNotFoundError, NotADirectoryError):
        return "the file is gone"
    except OSError as error:
        return f"the file cannot be read ({one_line(error.strerror or error)})"
    except Exception as error:  # noqa: BLE001 - a damaged file fails anywhere in Pillow
        return f"the image cannot be decoded ({type(error).__name__})"


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


_OPTIONS = ("layout", *KNOWN, UNLABELLED)


def _path(place: str, name: str) -> str | None:
    if os.path.isabs(name) or not place or is_url(place) or is_url(name):  # noqa: PTH117
        return name if os.path.isabs(name) else None  # noqa: PTH117
    return f"{place}/{name}"


def _of_file(path: str | None) -> np.ndarray | None:
    if path is None or not is_local(path):
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
