"""Names what unreadable bytes are, so that the user knows what to do."""

from __future__ import annotations

import io
import re
from typing import Any

_MAGIC = (
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"PK\x03\x04", "a zip archive (or a document): unpack it"),
    (b"%PDF", "a PDF document"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"SIMPLE  =", "a FITS image"),
    (b"\0\0\x01\0", "an icon"),
    (b"\x1aE\xdf\xa3", "a Matroska video"),
    (b"version https://git-lfs", "a pointer of Git LFS: run 'git lfs pull'"),
)
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}
_DOCUMENTS = ((rb"<!doctype html|<html", "an HTML page"), (rb"<svg", "an SVG drawing"), (rb"<\?xml", "an XML document"))
_HEAD = 1024
_DICOM_AT = 128

_UNSUPPORTED = re.compile(
    r"unsupported|not supported|cannot handle|can't handle|unknown|unrecogni[sz]ed|not implemented|not available"
    r"|no codec|invalid value for samples|more samples",
    re.IGNORECASE,
)
"""Pillow's words for an intact file of a kind that it does not support."""

_SOI_BYTES = 2
_LENGTH_BYTES = 2
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}) | {0xF7}
_JPEG_KINDS = {
    0xC3: "lossless", 0xC5: "hierarchical", 0xC6: "hierarchical", 0xC7: "hierarchical", 0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded", 0xCB: "arithmetic-coded", 0xCD: "hierarchical", 0xCE: "hierarchical",
    0xCF: "hierarchical", 0xF7: "JPEG-LS",
}  # fmt: skip
_EIGHT = 8
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 258, 259, 262, 277, 339
_FORMATS = {1: "", 2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_MOST_READ_SAMPLES = 4


def foreign(data: bytes) -> str:
    """Describes bytes that do not begin like a known image format."""
    what = _name(data[:_HEAD])
    return "not an image (of a known format)" if what is None else f"not an image that can be read, but {what}"


def _name(head: bytes) -> str | None:
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        brand = _brand(head)
        extra = ", or pip install 'featurebank[heic]'" if brand and brand.startswith("HEI") else ""
        return f"a photo in {brand}: save it as JPEG{extra}" if brand else "a video (MP4)"
    if head[_DICOM_AT : _DICOM_AT + 4] == b"DICM":
        return "a DICOM image: save it as PNG"
    for pattern, name in _DOCUMENTS:
        if re.search(pattern, head, re.IGNORECASE):
            return name
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    return "a text" if text.isprintable() or not re.search(r"[\0-\x08\x0e-\x1f]", text) else None


def _brand(head: bytes) -> str | None:
    """Returns the format of a file with the container of MP4; None for a video."""
    return next((name for mark, name in _BRANDS.items() if mark in head[8:32]), None)


def failure(data: bytes, kind: str, error: Exception) -> str:
    """Explains why an image of a known format cannot be decoded: it is damaged, or of an unsupported kind.

    Args:
        data: the whole file.
        kind: Pillow's name of its format, as "TIFF"; "" if it is unknown.
        error: the exception of Pillow.
    """
    words = _one_line(error)
    try:
        look = {"JPEG": _jpeg_kind, "TIFF": _tiff_kind}.get(kind)
        what = look(data) if look else None
    except Exception:  # noqa: BLE001 - so damaged that not even the header can be read
        what = None
    if what is not None:
        return f"{what}, which is not supported: save it as 8-bit grey or RGB"
    if _UNSUPPORTED.search(words):
        return f"a kind of {kind or 'image'} that is not supported ({words}): save it as 8-bit grey or RGB"
    name = (_brand(data[:_HEAD]) if kind == "HEIF" else None) or kind or "image"  # users know HEIC, Pillow HEIF
    return f"truncated or damaged {name}: {words}"


def _jpeg_kind(data: bytes) -> str | None:
    """Returns what is unusual about a JPEG; None if nothing is."""
    place = _SOI_BYTES
    while place + 10 <= len(data) and data[place] == 0xFF:  # noqa: PLR2004 - the first byte of every marker
        marker = data[place + 1]
        if marker == 0xFF:  # noqa: PLR2004 - padding
            place += 1
            continue
        if marker in _FRAMES:
            bits, channels = data[place + 4], data[place + 9]
            if bits != _EIGHT:
                return f"a JPEG of {bits} bits a channel"
            if channels not in {1, 3, 4}:
                return f"a JPEG of {channels} channels"
            return f"a {_JPEG_KINDS[marker]} JPEG" if marker in _JPEG_KINDS else None
        place += 2 + int.from_bytes(data[place + 2 : place + 2 + _LENGTH_BYTES])
    return None


def _tiff_kind(data: bytes) -> str | None:
    """Returns what is unusual about the first page of a TIFF; None if nothing is."""
    from PIL import TiffImagePlugin

    tags: Any = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data[2:3] == b"\x2b" else 8])
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    bits = tags.get(_BITS, (1,))
    depth = "/".join(map(str, sorted(set(bits)))) if isinstance(bits, tuple) else bits
    number = tags.get(_SAMPLE_FORMAT, (1,))
    form = _FORMATS.get(number[0] if isinstance(number, tuple) else number, "unusual ")
    bands = tags.get(_SAMPLES, 1)
    if bands > _MOST_READ_SAMPLES:
        return f"a TIFF of {bands} bands of {depth} bits"
    if form or depth not in {"1", "2", "4", "8", "16"}:
        return f"a TIFF of {bands} {form}band{'' if bands == 1 else 's'} of {depth} bits"
    compression = tags.get(_COMPRESSION, 1)
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"a TIFF with the compression {compression}"
    return None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:160] + "..."  # noqa: PLR2004 - a line of a terminal or two
