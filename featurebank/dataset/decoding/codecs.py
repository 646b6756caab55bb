"""Chooses the Pillow plugin for a file by its first bytes, and refuses or strips parts before the plugin reads them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import re
import struct
from collections.abc import Callable
from typing import Any

from PIL import Image

from featurebank.dataset.decoding.kinds import foreign
from featurebank.errors import BadImageError

MAX_SCANS = 100
"""A progressive JPEG with more scans is refused: encoders write about ten, and each one covers the whole image."""

_SOS, _EOI = b"\xff\xda", 0xD9
_MARKER = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
_PNG_SIGNATURE = 8
_PNG_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_PNG_XMP = b"XML:com.adobe.xmp\0\0"
_LARGE_TEXT = 1 << 19
_AVIF = re.compile(b"avif|avis")


def open_image(data: bytes) -> Image.Image:
    """Opens an image file; reads only its header.

    Raises:
        BadImageError: it has no known format, or is a JPEG with more than `MAX_SCANS` scans.
        Exception: Pillow raises many types on damaged bytes.
    """
    # `Image.open` checks the size against its own limit, which is global and lower than ours, and its message hides the
    # size. So the registered openers are called directly, as it does; they read only the header.
    for name, opener, accept in openers():
        accepted = _accepted(name, accept, data)
        if isinstance(accepted, str):
            raise BadImageError(accepted)  # Pillow was built without this format
        if not accepted:
            continue
        if name == "JPEG":
            _check_scans(data)
        return opener(io.BytesIO(data), "")
    raise BadImageError(foreign(data))


def _accepted(name: str, accept: Callable[[bytes], bool | str], data: bytes) -> bool | str:
    """Returns a plugin's verdict on the first bytes; AVIF's also accepts files that only HEIC's can read."""
    return accept(data[:16]) if name != "AVIF" or _AVIF.search(data[8:32]) else False


def is_about_texts(error: ValueError, data: bytes) -> bool:
    """Returns whether Pillow refuses a PNG because its texts or its colour profile are too large."""
    return "text" in str(error).lower() and format_of(data) == "PNG"


def without_texts(data: bytes) -> bytes:
    """Returns a PNG without its texts and colour profile, except the text that may hold the orientation.

    A truncated file stays truncated.
    """
    chunks, place = [data[:_PNG_SIGNATURE]], _PNG_SIGNATURE
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind not in _PNG_TEXTS or (length < _LARGE_TEXT and data.startswith(_PNG_XMP, place + 8)):
            chunks.append(data[place : place + 12 + length])
        place += 12 + length
    return b"".join(chunks)


def _check_scans(data: bytes) -> None:
    """Refuses a JPEG with so many scans that they can only be meant to waste time."""
    if data.count(_SOS) <= MAX_SCANS:  # including those of thumbnails and of further images
        return
    scans, place = 0, 2
    while scans <= MAX_SCANS and (match := _MARKER.search(data, place)):
        marker, place = data[match.start() + 1], match.end()
        if marker == _EOI:
            return
        scans += marker == _SOS[1]
        place += int.from_bytes(data[place : place + 2])  # the length of its segment
    if scans > MAX_SCANS:
        message = f"a JPEG of more than {MAX_SCANS} scans, which takes too long to decode: save it again"
        raise BadImageError(message)


def format_of(data: bytes) -> str:
    """Returns Pillow's name of the format that a file begins like."""
    return next((name for name, _, accept in openers() if _accepted(name, accept, data)), "")


@functools.cache
def openers() -> tuple[tuple[str, Callable[..., Image.Image], Callable[[bytes], bool | str]], ...]:
    """Returns each format's name, opener and test of the first bytes, in the order of trial."""
    # Without a handler, Pillow's loggers would print beside our own reason.
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    from PIL import (  # noqa: F401 - importing registers them
        BmpImagePlugin,
        GifImagePlugin,
        Jpeg2KImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        PpmImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    for module, register in (("PIL.AvifImagePlugin", ""), ("pillow_heif", "register_heif_opener")):
        with contextlib.suppress(ImportError):  # AVIF needs a newer Pillow, HEIC an extra
            plugin = importlib.import_module(module)
            if register:
                getattr(plugin, register)()
    known: dict[str, Any] = Image.OPEN
    return tuple((name, *known[name]) for name in _FORMATS if name in known)
