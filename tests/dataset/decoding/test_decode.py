"""Whatever the bytes are: an array or BadImageError."""

from __future__ import annotations

import importlib.util
import io
import json
import struct
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from featurebank import load_dataset
from featurebank.dataset.decoding.codecs import MAX_SCANS
from featurebank.dataset.decoding.decode import decode
from featurebank.errors import BadImageError

BAD_IMAGES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "bad_images"
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


COLOUR = Image.fromarray(PIXELS)
SAMPLES = [
    encoded(Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))), kind, **options)
    for kind, options in [
        ("JPEG", {"progressive": True}),
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("JPEG2000", {}),
        *([("AVIF", {})] if features.check("avif") else []),
    ]
]


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 10))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    found = decode(encoded(COLOUR, kind))
    np.testing.assert_array_equal(found, PIXELS)
    assert found.dtype == np.uint8


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("GIF", {})])
def test_lossy_formats_come_near(kind: str, options: dict[str, int]) -> None:
    smooth = np.zeros((16, 16, 3), np.uint8) + np.array([200, 90, 30], np.uint8)
    found = decode(encoded(Image.fromarray(smooth), kind, **options))
    assert np.abs(found.astype(int) - smooth).max() <= 6


def test_alpha_is_dropped() -> None:
    alpha = np.arange(54, dtype=np.uint8).reshape(6, 9, 1)
    rgba = encoded(Image.fromarray(np.concatenate([PIXELS, alpha], 2)), "PNG")
    np.testing.assert_array_equal(decode(rgba), PIXELS)
    grey = encoded(Image.fromarray(np.concatenate([PIXELS[:, :, :1], alpha], 2), "LA"), "PNG")
    np.testing.assert_array_equal(decode(grey), np.repeat(PIXELS[:, :, :1], 3, 2))


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80\xff"])
def test_palettes(transparency: object) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    options = {} if transparency is None else {"transparency": transparency}
    found = decode(encoded(image, "PNG", **options))
    assert found.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]


def test_one_bit_and_cmyk() -> None:
    assert decode(encoded(Image.new("1", (2, 1), 1), "PNG")).tolist() == [[[255] * 3] * 2]
    assert decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")).min() >= 250
    assert decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "TIFF")).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 255, 256, 0x8000, 0xFFFF]], np.uint16)
    found = decode(encoded(Image.fromarray(values), kind))
    assert found[0, :, 0].tolist() == [0, 0, 1, 0x80, 0xFF]
    assert (found == found[:, :, :1]).all()


def test_thirty_two_bits() -> None:
    small = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.int32))
    assert decode(encoded(small, "TIFF"))[0, :, 0].tolist() == [0, 0x12, 0xFF]
    for wrong in (-1, 0x10000):
        with pytest.raises(BadImageError, match="32-bit grey values"):
            decode(encoded(Image.fromarray(np.array([[0, wrong]], np.int32)), "TIFF"))
    with pytest.raises(BadImageError, match="floating-point pixels"):
        decode(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
    9: lambda a: a,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_orientation_of_exif(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode(encoded(COLOUR, kind, exif=exif)), TURNS[orientation](PIXELS))


def test_orientation_of_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(COLOUR, "JPEG", exif=exif)).shape == (9, 6, 3)


def test_damaged_exif_does_not_spoil_the_pixels() -> None:
    data = encoded(COLOUR, "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff" + b"\xff" * 20)
    assert decode(data).shape == (6, 9, 3)


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("MPO", {})])
def test_the_first_frame_counts(kind: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decode(data).astype(int) - [255, 0, 0]).max() <= 3


def test_bad_bytes_say_why() -> None:
    with pytest.raises(BadImageError, match=r"^empty file$"):
        decode(b"")
    for foreign in (b"hello", b"%PDF-1.4 ....................", b"8BPS" + b"\0" * 40):
        with pytest.raises(BadImageError, match="not an image"):
            decode(foreign)
    for sample in SAMPLES:
        with pytest.raises(BadImageError, match=r"truncated or damaged [A-Z0-9]+: .") as caught:
            decode(sample[: len(sample) // 2])
        assert "\n" not in str(caught.value)


def test_bombs_are_refused_by_their_header() -> None:
    start = time.perf_counter()
    with pytest.raises(BadImageError, match=r"60000 x 60000 pixels, more than 120 million \(a decompression bomb\?\)"):
        decode(png_claiming(60000, 60000))
    with pytest.raises(BadImageError, match="12001 x 10000 pixels"):
        decode(png_claiming(12001, 10000))
    assert time.perf_counter() - start < 0.5
    assert Image.MAX_IMAGE_PIXELS == 89478485


def test_photos_above_pillows_own_limit_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(decode(encoded(COLOUR, "PNG")), PIXELS)


def test_pixel_limit_of_pillow_inside_other_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(BadImageError, match="decompression bomb"):
        decode(encoded(COLOUR, "WEBP"))


def test_memory_and_missing_codecs(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("featurebank.dataset.decoding.decode._to_rgb", none)
        with pytest.raises(BadImageError, match="not enough memory"):
            decode(encoded(COLOUR, "PNG"))
    monkeypatch.setattr(
        "featurebank.dataset.decoding.codecs.openers", lambda: (("WEBP", none, lambda _: "no WEBP here"),)
    )
    with pytest.raises(BadImageError, match="no WEBP here"):
        decode(b"RIFF")


@given(st.binary(max_size=300), st.sampled_from(SAMPLES))
@settings(max_examples=150)
def test_random_bytes(noise: bytes, sample: bytes) -> None:
    for data in (noise, sample[:12] + noise):
        try:
            assert decode(data).shape[2] == 3
        except BadImageError as error:
            assert str(error)  # noqa: PT017 - both outcomes are right


@given(st.sampled_from(SAMPLES), st.data())
@settings(max_examples=300)
def test_mutated_files(sample: bytes, data: st.DataObject) -> None:
    changed = bytearray(sample[: data.draw(st.integers(1, len(sample)))])
    for _ in range(data.draw(st.integers(0, 8))):
        place = data.draw(st.integers(0, min(len(changed) - 1, 400)))
        changed[place] = data.draw(st.integers(0, 255))
    try:
        found = decode(bytes(changed))
    except BadImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    else:
        assert found.dtype == np.uint8
        assert found.shape[2] == 3


def test_the_warning_filters_are_left_as_they_were() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        shapes = {found.shape for found in pool.map(decode, SAMPLES * 8)}
    assert shapes == {(48, 72, 3)}
    assert list(warnings.filters) == before


@pytest.mark.skipif(not BAD_IMAGES.is_dir(), reason=f"the awkward files are not at {BAD_IMAGES}")
def test_awkward_files() -> None:
    expected = json.loads((BAD_IMAGES / "expected.json").read_text())
    dataset = load_dataset(str(BAD_IMAGES))
    assert set(dataset.ids) == {name for name, outcome in expected.items() if outcome != "ignored"}
    for index, name in enumerate(dataset.ids):
        start = time.perf_counter()
        try:
            outcome = "ok" if dataset.image(index).dtype == np.uint8 else "wrong type"
        except BadImageError:
            outcome = "bad"
        assert (name, outcome) == (name, expected[name])
        assert time.perf_counter() - start < 2


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there again and again."""
    data = encoded(Image.fromarray(np.kron(PIXELS, np.ones((8, 8, 1), np.uint8))), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    own = data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * (count - own) + data[-2:]


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    assert decode(jpeg_of_scans(MAX_SCANS)).shape == (48, 72, 3)
    with pytest.raises(BadImageError, match=f"a JPEG of more than {MAX_SCANS} scans"):
        decode(jpeg_of_scans(MAX_SCANS + 1))


def test_what_only_looks_like_scans_is_not_counted() -> None:
    data = encoded(COLOUR, "JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 1000)
    np.testing.assert_array_equal(decode(data), decode(encoded(COLOUR, "JPEG")))
    np.testing.assert_array_equal(decode(encoded(COLOUR, "JPEG") + b"\xff\xda" * 1000), decode(data))


def with_chunk(data: bytes, kind: bytes, content: bytes, *, last: bool = False) -> bytes:
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = len(data) - 12 if last else 33
    return data[:place] + chunk + data[place:]


@pytest.mark.parametrize(
    ("kind", "begin", "text", "repeated"),
    [
        ("zTXt", b"workflow\0\0", b"{node} ", 300_000),
        ("iTXt", b"prompt\0\1\0\0\0", b"\0", 1 << 27),
        ("tEXt", b"workflow\0", b"x", 2_000_000),
        ("iCCP", b"print\0\0", b"\0", 1 << 24),
    ],
)
def test_a_png_with_large_texts_is_decoded_without_them(kind: str, begin: bytes, text: bytes, repeated: int) -> None:
    long = text * repeated
    content = begin + (long if kind == "tEXt" else zlib.compress(long, 1))
    for last in (False, True):
        data = with_chunk(encoded(COLOUR, "PNG"), kind.encode(), content, last=last)
        np.testing.assert_array_equal(decode(data), PIXELS)


def test_orientation_in_a_text_stays_where_another_text_is_too_large() -> None:
    xmp = b'<x:xmpmeta xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"></x:xmpmeta>'
    turned = with_chunk(encoded(COLOUR, "PNG"), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    expected = decode(turned)
    np.testing.assert_array_equal(expected, PIXELS[::-1, ::-1])
    large = with_chunk(turned, b"zTXt", b"workflow\0\0" + zlib.compress(bytes(1 << 24)))
    np.testing.assert_array_equal(decode(large), expected)


def test_large_images_are_copied_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(np.kron(PIXELS, np.ones((9, 5, 1), np.uint8))), "PNG")
    whole = decode(data)
    monkeypatch.setattr("featurebank.dataset.decoding.decode._STRIP_PIXELS", 100)
    strips = decode(data)
    np.testing.assert_array_equal(strips, whole)
    assert not strips.flags.writeable


FOREIGN = {
    "a gzip archive": b"\x1f\x8b\x08" + bytes(20), "a zip archive": b"PK\x03\x04" + bytes(20),
    "a PDF": b"%PDF-1.4\n%\xe2",
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIF": b"\0\0\0\x18ftypmif1\0\0\0\0mif1miaf",
    "a video": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "an HTML page": b"<!DOCTYPE html><html><body>403</body></html>",
    "an SVG drawing": b'<?xml version="1.0"?><svg xmlns="x"/>', "a DICOM": bytes(128) + b"DICM",
    "a text": b"path,label\na,b\n",
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\n", "a JPEG XL": b"\xff\x0a" + bytes(20),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_bytes_are_named(what: str) -> None:
    said = f"^not an image that can be read, but .*{what}"
    if what.startswith("HEI") and importlib.util.find_spec("pillow_heif"):
        said = f"^truncated or damaged {what}: ."  # photos in HEIC are read here, but this is only their beginning
    with pytest.raises(BadImageError, match=said):
        decode(FOREIGN[what])


def jpeg_frame(marker: int, bits: int, channels: int) -> bytes:
    """The beginning of a JPEG of some kind."""
    frame = struct.pack(">BHHB", bits, 8, 8, channels) + bytes(3 * channels)
    return b"\xff\xd8" + b"\xff" + bytes([marker]) + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xda\0\2"


def tiff_of(bands: int, kind: str, compression: int = 1) -> bytes:
    """A TIFF of 6 x 5 pixels with any bands, depth and compression."""
    pixels = np.ones((5, 6, bands), kind)
    form = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    tags = [
        (256, 6),
        (257, 5),
        (258, 8 * pixels.itemsize),
        (259, compression),
        (262, 1),
        (273, 0),
        (277, bands),
        (278, 5),
    ]
    tags += [(279, pixels.nbytes), (339, form)]
    place = 8 + 2 + 12 * len(tags) + 4
    entries = []
    for tag, value in tags:
        count = bands if tag in {258, 339} else 1
        if count > 2:
            inside = place + pixels.nbytes + (0 if tag == 258 else 2 * bands)
            entries.append(struct.pack("<HHII", tag, 3, count, inside))
        else:
            packed = struct.pack(f"<{count}H", *[value] * count) if tag != 273 else struct.pack("<H", place)
            entries.append(struct.pack("<HHI", tag, 3, count) + packed.ljust(4, b"\0"))
    end = struct.pack(f"<{bands}H", *[8 * pixels.itemsize] * bands) + struct.pack(f"<{bands}H", *[form] * bands)
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags))
    return head + b"".join(entries) + bytes(4) + pixels.tobytes() + end


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (jpeg_frame(0xC1, 12, 3), "a JPEG of 12 bits a channel"),
        (jpeg_frame(0xC0, 8, 2), "a JPEG of 2 channels"),
        (jpeg_frame(0xC5, 8, 3), "a hierarchical JPEG"),
        (tiff_of(7, "u1"), "a TIFF of 7 bands of 8 bits"),
        (tiff_of(13, "u2"), "a TIFF of 13 bands of 16 bits"),
        (tiff_of(2, "f4"), "a TIFF of 2 floating-point bands of 32 bits"),
        (tiff_of(1, "f8"), "a TIFF of 1 floating-point band of 64 bits"),
        (tiff_of(1, "u1", 65000), "a TIFF with the compression 65000"),
    ],
)
def test_whole_images_of_kinds_that_are_not_read(
    data: bytes, what: str, capfd: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    with pytest.raises(BadImageError, match=f"^{what}, which is not supported: save it as"):
        decode(data)
    assert capfd.readouterr() == ("", ""), "Pillow's own log says nothing beside it"
