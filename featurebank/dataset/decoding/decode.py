"""Decodes the bytes of an image file; for any bytes, the result is an array or `BadImageError`."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from featurebank.dataset.decoding.budget import PixelBudget, pixel_budget
from featurebank.dataset.decoding.codecs import format_of, is_about_texts, open_image, without_texts
from featurebank.dataset.decoding.kinds import failure
from featurebank.dataset.decoding.levels import WHOLE, Levels
from featurebank.errors import BadImageError, LostImageError
from featurebank.system import digest

MAX_PIXELS = 120_000_000
"""Images with more pixels are refused unread: phones make up to 108 million, decompression bombs billions."""

MAX_QUICK_PIXELS = 12_000_000
"""Images with more pixels after the scaling that a JPEG decoder does itself have no thumbnail in a notebook."""

_TOO_MANY = f"more than {MAX_PIXELS // 10**6} million (a decompression bomb?)"
_ORIENTATION, _TILE_WIDTH, _TILE_HEIGHT = 0x0112, 0x0142, 0x0143
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_STRIP_PIXELS = 1 << 23
_GIVE_LEVELS = "use --levels LOW,HIGH or auto, or save it with 8 or 16 bits"
_BITS_PER_SAMPLE, _SIXTEEN = 258, 16
_RAW_MODE = "featurebank.rawmode"


@dataclass(frozen=True)
class Facts:
    """The properties of an image, besides its pixels."""

    width: int
    """In pixels, of the decoded (upright) image."""
    height: int
    format: str
    """"JPEG", "PNG", ... by the content of the file, whatever its name; "array" if there is no file."""
    mode: str
    """Pillow's name of the pixel format: "RGB", "L" (grey), "P" (palette), "RGBA", "CMYK", "I;16", ..."""
    rotated: bool
    """Whether the EXIF orientation turned or mirrored it."""
    peak: float | None = None
    """The largest value of an image of more than eight bits per pixel; for 16-bit colour, as far as it is known."""


def decode(data: bytes, levels: Levels | None = None) -> np.ndarray:
    """Decodes an image file, whatever its name.

    The formats are JPEG (also MPO), PNG, WEBP, BMP, GIF, TIFF, PPM (PGM, PBM), JPEG 2000 and AVIF, and HEIC if the
    package pillow-heif is installed.

    - Animations and files with several pages: the first image.
    - The EXIF orientation is applied.
    - Grey and palette images become RGB. Transparency is dropped, as by `keras.utils.load_img`: the colours stored
      under transparent pixels show.
    - 16-bit grey keeps its upper eight bits, like 16-bit colour, unless levels are given; floating-point, signed and
      32-bit grey needs levels.

    Args:
        data: the whole file.
        levels: the range of a grey image of more than eight bits.

    Returns:
        (height, width, 3) uint8, RGB; read-only, because a writable copy would cost a sixth of the time.

    Raises:
        BadImageError: the bytes are not such an image, are damaged, or hold more than `MAX_PIXELS` pixels or
            `MAX_SCANS` scans.

    Example:
        >>> from pathlib import Path
        >>> decode(Path("photos/rose/1.jpg").read_bytes()).shape
        (32, 32, 3)
    """
    return decode_with_facts(data, levels)[0]


def decode_with_facts(data: bytes, levels: Levels | None = None) -> tuple[np.ndarray, Facts]:
    """Decodes an image file like `decode`, and returns its properties, too."""
    if not data:
        message = "empty file"
        raise BadImageError(message)
    try:
        with _quiet_pillow():
            try:
                return _decoded(open_image(data), levels)
            except ValueError as error:
                if not is_about_texts(error, data):
                    raise
                return _decoded(open_image(without_texts(data)), levels)
    except BadImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"more than {MAX_PIXELS // 10**6} million pixels (a decompression bomb?)"
        raise BadImageError(message) from error
    except MemoryError as error:
        message = "not enough memory to decode it"
        raise BadImageError(message) from error
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        raise BadImageError(failure(data, format_of(data), error)) from error


def decode_thumbnail(data: bytes, side: int) -> np.ndarray:
    """Decodes an image file like `decode`, but shrunk, and a JPEG only as finely as that needs: twenty times faster.

    Args:
        data: the whole file.
        side: the largest side of the result in pixels.

    Returns:
        (h, w, 3) uint8.

    Raises:
        BadImageError: the image has more than `MAX_QUICK_PIXELS` pixels to decode.
        Exception: see `decode`; Pillow raises many types on damaged bytes.
    """
    with _quiet_pillow():
        image = open_image(data)
        image.draft("RGB", (side, side))
        if image.size[0] * image.size[1] > MAX_QUICK_PIXELS:
            message = f"more than {MAX_QUICK_PIXELS // 10**6} million pixels, too many for a thumbnail"
            raise BadImageError(message)
        small = Image.fromarray(_decoded(image, None)[0])
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(small)


def in_flight() -> contextlib.AbstractContextManager[None]:
    """Counts the images that this thread decodes inside the block as in memory until the block ends."""
    return _budget().block()


def _budget() -> PixelBudget:
    return pixel_budget(MAX_PIXELS)


def _raw_mode(image: Image.Image) -> str:
    """Returns the format in which Pillow will unpack an image, as "RGB;16B"; "" if its plugin does not say."""
    tiles = getattr(image, "tile", None) or [("", (), 0, "")]
    arguments = tiles[0][3]
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _decoded(image: Image.Image, levels: Levels | None) -> tuple[np.ndarray, Facts]:
    _check_size(image.size)
    _check_tiles(image)
    kind, mode = image.format or "", image.mode
    image.info[_RAW_MODE] = _raw_mode(image)  # before loading, which discards it
    with _budget().decoding(image.size[0] * image.size[1]):
        turned = kind == "TIFF" and _turn(image) is not None
        image.load()
        turn = _turn(image)
        picture, peak = _to_rgb(image, levels)
        pixels = _as_array(picture if turn is None else picture.transpose(turn))
    return pixels, Facts(pixels.shape[1], pixels.shape[0], kind, mode, turned or turn is not None, peak)


def _as_array(picture: Image.Image) -> np.ndarray:
    """Returns the pixels of an RGB image; a large one in strips, because Pillow would hold two more copies."""
    width, height = picture.size
    if width * height <= _STRIP_PIXELS:
        return np.asarray(picture)
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for start in range(0, height, rows):
        stop = min(start + rows, height)
        pixels[start:stop] = np.asarray(picture.crop((0, start, width, stop)))
    pixels.flags.writeable = False
    return pixels


def decode_expected(
    data: bytes, expected: bytes | None, levels: Levels | None = None
) -> tuple[np.ndarray, Facts]:  # fmt: skip
    """Decodes an image file whose content digest is known; see `decode_with_facts`.

    Raises:
        BadImageError: see `decode`; or the digest differs.
    """
    if expected is not None and digest.of_bytes(data).encode() != expected:
        message = "changed while it was being read"
        raise LostImageError(message)
    return decode_with_facts(data, levels)


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        message = f"{width} x {height} pixels, {_TOO_MANY}"
        raise BadImageError(message)
    if width < 1 or height < 1:
        message = f"{width} x {height} pixels: there is nothing to see"
        raise BadImageError(message)


def _check_tiles(image: Image.Image) -> None:
    """Refuses a TIFF with tiles larger than any allowed image: a tile is decoded whole, however small the image is."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_HEIGHT, 0)
    if width * height > MAX_PIXELS:
        message = f"tiles of {width} x {height} pixels, {_TOO_MANY}"
        raise BadImageError(message)


def _to_rgb(image: Image.Image, levels: Levels | None) -> tuple[Image.Image, float | None]:
    """Returns an image as RGB, and its largest value if it has more than eight bits."""
    peak = None
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        values = np.asarray(image)
        peak = float(np.nanmax(values)) if values.size and not np.isnan(values).all() else 0.0
        image = Image.fromarray(_upper_byte(values) if levels is None else levels.apply(values))
    elif _is_deep(image):
        if levels is not None:
            message = "16 bits per colour, of which the upper 8 are read: --levels is for grey images; save it as grey"
            raise BadImageError(message)
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        peak = 257.0 * max(high for _, high in cast("tuple[tuple[int, int], ...]", rgb.getextrema()))
    if image.mode in {"La", "RGBa"}:  # premultiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # this way Pillow does not warn
    return image if image.mode == "RGB" else image.convert("RGB"), peak


def _is_deep(image: Image.Image) -> bool:
    """Returns whether the colours of an image are stored with 16 bits, of which Pillow keeps the upper 8."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 0)
    raw = image.info.get(_RAW_MODE, "")
    return (max(bits) if isinstance(bits, tuple) else bits) == _SIXTEEN or ";16" in raw


def _upper_byte(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        message = f"floating-point pixels of unknown range: {_GIVE_LEVELS}"
        raise BadImageError(message)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > WHOLE:
        message = f"32-bit grey values from {low} to {high}: expected 0 to {WHOLE}; {_GIVE_LEVELS}"
        raise BadImageError(message)
    return (values >> 8).astype(np.uint8)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Returns the transposition that turns an image upright.

    Call it after loading: PNG may store the orientation at the end, and Pillow's TIFF plugin turns the image itself
    while loading, so that it has an orientation before and none after.
    """
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - the EXIF data is damaged, but the pixels are fine
        return None


_quiet_lock = threading.Lock()
_quiet_users = 0
_quiet_filter: Any = None


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignores warnings from inside Pillow (damaged EXIF and the like) while any thread decodes.

    `warnings.catch_warnings` is not enough: it restores the whole list of filters, which fails between threads.
    """
    global _quiet_users, _quiet_filter  # noqa: PLW0603 - the filters of a process are global
    with _quiet_lock:
        _quiet_users += 1
        if _quiet_users == 1:
            warnings.filterwarnings("ignore", module=r"PIL\.|featurebank\.dataset\.decoding\.")
            _quiet_filter = warnings.filters[0]
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if _quiet_users == 0:
                with contextlib.suppress(ValueError):  # another catch_warnings has removed it
                    cast("list[Any]", warnings.filters).remove(_quiet_filter)
