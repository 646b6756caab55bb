"""Small files that claim, or hold, images of gigabytes; and what it costs to decode them. Run by test_bad_images.py.

    python bombs.py DIRECTORY

Prints as JSON: what became of each file, the seconds of all together, and by how many bytes the memory has grown.
"""

from __future__ import annotations

import io
import json
import re
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from featurebank.dataset.decoding.decode import decode
from featurebank.errors import BadImageError


def zeros(size: int) -> bytes:
    """A zlib stream of so many zero bytes, made of copies of one short piece: nobody has to compress gigabytes."""
    piece = 1 << 25
    head, one = _flushed(piece)
    _, rest = _flushed(size % piece)
    end = b"\x03\x00" + struct.pack(">HH", size % 65521, 1)  # an empty last block, and Adler-32 of zeros
    return head + one * (size // piece) + rest + end


def _flushed(size: int) -> tuple[bytes, bytes]:
    packer = zlib.compressobj(9)
    whole = packer.compress(bytes(size)) + packer.flush(zlib.Z_FULL_FLUSH)
    return whole[:2], whole[2:]


def png(width: int, height: int) -> bytes:
    """A black PNG with all its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zeros(height * (1 + 3 * width))) + chunk(b"IEND", b"")


def tiff(width: int, height: int, tile: tuple[int, int] | None = None) -> bytes:
    """A black TIFF with all its pixels, in one strip or in one tile, which may be larger than the image."""
    pixels = zeros(3 * (tile[0] * tile[1] if tile else width * height))
    tags: list[Sequence[int]] = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 2), (277, 3, 3)]
    if tile:
        tags += [(322, 4, tile[0]), (323, 4, tile[1]), (324, 4, 0), (325, 4, len(pixels))]
    else:
        tags += [(273, 4, 0), (278, 4, height), (279, 4, len(pixels))]
    tags.sort()
    bits = 8 + 2 + 12 * len(tags) + 4
    entries = b""
    for tag, kind, value in tags:
        place = {258: bits, 273: bits + 6, 324: bits + 6}.get(tag, value)
        entries += struct.pack("<HHII", tag, kind, 3 if tag == 258 else 1, place)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<IHHH", 0, 8, 8, 8) + pixels


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00;"


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp(width: int, height: int) -> bytes:
    """An animation of one pixel on a large canvas."""
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "WEBP", lossless=True)
    canvas = bytes([2, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = bytes(12) + b"\x64\0\0\0" + buffer.getvalue()[12:]
    return riff((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", frame))


def webp_lossless(width: int, height: int) -> bytes:
    return riff((b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(20)))


def jpeg(width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IIIHHIIIIII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 200, 0, 0, 54) + header + bytes(100)


BOMBS = {
    "square.png": lambda: png(30_000, 30_000),
    "thin.png": lambda: png(150_000_000, 6),
    "largest.png": lambda: png(1 << 16, 1 << 16)[:200] + bytes(1000),
    "strip.tif": lambda: tiff(40_000, 20_000),
    "tile.tif": lambda: tiff(10, 10, tile=(20_000, 20_000)),
    "screen.gif": lambda: gif((65_535, 65_535), (1, 1)),
    "frame.gif": lambda: gif((1, 1), (60_000, 60_000)),
    "canvas.webp": lambda: webp(16_383, 16_383),
    "wide.webp": lambda: webp(1 << 24, 1 << 7),
    "lossless.webp": lambda: webp_lossless(16_384, 16_384),
    "claims.jpg": lambda: jpeg(65_500, 65_500),
    "claims.bmp": lambda: bmp(60_000, 60_000),
}
HARMLESS = {
    "small.png": lambda: png(3000, 20),
    "small.tif": lambda: tiff(3000, 20),
    "tiled.tif": lambda: tiff(10, 10, (16, 16)),
}


def peak_memory() -> int:
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) << 10


def main(directory: Path) -> None:
    files = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
    buffer = io.BytesIO()
    for kind in ("PNG", "TIFF", "GIF", "WEBP", "JPEG", "BMP"):  # libraries that are loaded are no growth
        Image.new("RGB", (8, 8)).save(buffer := io.BytesIO(), kind)
        decode(buffer.getvalue())
    found, before, began = {}, peak_memory(), time.perf_counter()
    for name, data in files.items():
        try:
            found[name] = str(decode(data).shape)
        except BadImageError as error:
            found[name] = str(error)
    seconds, grown = time.perf_counter() - began, peak_memory() - before
    sys.stdout.write(json.dumps({"found": found, "seconds": seconds, "grown": grown}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
