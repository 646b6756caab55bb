"""Whatever the bytes are: an array or BadImageError."""

from __future__ import annotations

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

from featurebank.dataset import load_dataset
from featurebank.dataset.decode import decode
from featurebank.errors import BadImageError

BAD_IMAGES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "bad_images"
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
        with pytest.raises(BadImageError, match=r"truncated or damaged: .") as caught:
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
        patch.setattr("featurebank.dataset.decode._to_rgb", none)
        with pytest.raises(BadImageError, match="not enough memory"):
            decode(encoded(COLOUR, "PNG"))
    monkeypatch.setattr("featurebank.dataset.decode._openers", lambda: ((none, lambda _: "no WEBP here"),))
    with pytest.raises(BadImageError, match="no WEBP here"):
        decode(b"RIFF")


@given(st.binary(max_size=300), st.sampled_from(SAMPLES))
@settings(deadline=None, max_examples=150)
def test_random_bytes(noise: bytes, sample: bytes) -> None:
    for data in (noise, sample[:12] + noise):
        try:
            assert decode(data).shape[2] == 3
        except BadImageError as error:
            assert str(error)  # noqa: PT017 - both outcomes are right


@given(st.sampled_from(SAMPLES), st.data())
@settings(deadline=None, max_examples=300)
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
