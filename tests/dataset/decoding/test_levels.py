"""Grey values of more than eight bits: scaled by a stated rule, or said to be lost."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listener import Listener
from PIL import Image

from featurebank import extract, inspect_dataset, load_backbone, load_dataset, predict
from featurebank.backbone import Backbone, load_recorded, recorded_source
from featurebank.dataset.decoding.decode import decode, decode_with_facts
from featurebank.dataset.decoding.levels import Depths, Levels
from featurebank.errors import BadImageError, ConfigError
from featurebank.grafting.loaded_model import LoadedModel

GREY = np.random.default_rng(0).integers(0, 4096, (30, 40), dtype=np.uint16)


def encoded(values: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def png_of_16_bit_colour(values: np.ndarray) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("text", ["0,4095", "-1000,3000", "0.5,1", "auto:1,99", "1e-30,1e30"])
def test_the_text_is_read_again(text: str) -> None:
    assert Levels.parse(Levels.parse(text).text) == Levels.parse(text)


def test_texts_that_mean_the_same_are_the_same() -> None:
    assert Levels.parse("auto").text == Levels.parse("auto:0,100").text == Levels.parse("auto:0.0,1e2").text
    assert Levels.parse("0,4095").text == Levels.parse(" 0 , 4095.0 ").text == "0,4095"


@pytest.mark.parametrize(
    "text",
    ["", "4095", "5,5", "9,1", "nan,1", "0,inf", "0,1,2", "a,b", "auto:1", "auto:-1,9", "auto:0,101", "autox:1,2"],
)
def test_other_texts_get_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="expected LOW,HIGH"):
        Levels.parse(text)


@settings(max_examples=60)
@given(st.integers(-(2**31), 2**31), st.integers(1, 2**32), st.integers(0, 2**32))
def test_between_low_and_high_it_is_linear_and_cut_outside(low: int, width: int, seed: int) -> None:
    high = low + width
    values = np.random.default_rng(seed).uniform(low - width, high + width, (7, 5))
    found = Levels(low, high).apply(values).astype(float)
    np.testing.assert_allclose(found, np.clip((values - low) / width, 0, 1) * 255, atol=0.5 + 1e-6)
    assert Levels(low, high).apply(np.array([[low, high, np.nan]], float)).tolist() == [[0, 255, 0]]


def test_auto_takes_each_image_by_itself() -> None:
    assert Levels.parse("auto").apply(np.array([[7, 8, 9]], np.int32)).tolist() == [[0, 128, 255]]
    assert Levels.parse("auto").apply(np.full((3, 4), 7, np.uint16)).tolist() == np.zeros((3, 4)).tolist()
    assert not Levels.parse("auto").apply(np.full((3, 4), np.nan)).any()
    values = np.r_[np.arange(100), 10_000][None].astype(np.uint16)
    assert Levels.parse("auto:0,99").apply(values)[0, 99] == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_twelve_bits(kind: str) -> None:
    data = encoded(GREY, kind)
    np.testing.assert_array_equal(decode(data)[..., 0], GREY >> 8)
    np.testing.assert_array_equal(decode(data, Levels(0, 4095))[..., 1], np.rint(GREY * (255 / 4095)))
    assert decode_with_facts(data)[1].peak == GREY.max()


def test_signed_and_floating_point_values_need_levels() -> None:
    signed = encoded(GREY.astype(np.int32) - 1000, "TIFF")
    real = encoded(GREY.astype(np.float32) / 4095, "TIFF")
    for data, reason in ((signed, "values from -1000 to"), (real, "floating-point")):
        with pytest.raises(BadImageError, match=f"{reason}.*--levels LOW,HIGH"):
            decode(data)
    exact = np.rint(GREY * (255 / 4095))
    np.testing.assert_array_equal(decode(signed, Levels(-1000, 3095))[..., 2], exact)
    assert np.abs(decode(real, Levels(0, 1))[..., 2] - exact).max() <= 1


def test_eight_bits_stay_as_they_are() -> None:
    for values in (GREY.astype(np.uint8), np.stack([GREY.astype(np.uint8)] * 3, axis=2)):
        np.testing.assert_array_equal(decode(encoded(values, "PNG"), Levels(0, 9)), decode(encoded(values, "PNG")))
        assert decode_with_facts(encoded(values, "PNG"))[1].peak is None


def test_colours_of_sixteen_bits_keep_the_upper_eight_or_say_why_not() -> None:
    data = png_of_16_bit_colour(np.stack([GREY] * 3, axis=2))
    found, facts = decode_with_facts(data)
    np.testing.assert_array_equal(found[..., 0], GREY >> 8)
    assert facts.peak is not None
    assert 0 < facts.peak < 4096
    with pytest.raises(BadImageError, match="16 bits per colour"):
        decode(data, Levels(0, 4095))


def test_warnings() -> None:
    depths = Depths()
    assert depths.warning(None) is None
    depths.note(0, None)
    depths.note(1, 4000)
    depths.note(2, 4090)
    assert depths.warning(None) == (
        "2 images have more than 8 bits a pixel, and no value above 4090 of 65535: nearly black, as 16 of 256 levels "
        "are left; use --levels 0,4095"
    )
    depths.note(3, 9999)
    assert str(depths.warning(None)).endswith("40 of 256 levels are left; use --levels 0,9999")
    assert "values up to 9999, which --levels 0,4095 clips at 4095" in str(depths.warning(Levels(0, 4095)))
    assert depths.warning(Levels(0, 9999)) is depths.warning(Levels.parse("auto")) is None
    depths.note(4, 60_000)
    assert depths.warning(None) is None


def save(root: Path) -> Path:
    for number in range(6):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.roll(GREY, number), "PNG"))
    return root


def test_a_dataset_of_twelve_bits(lite: Backbone, pixels: list[Any], tmp_path: Path) -> None:
    root = save(tmp_path / "deep")
    said = Listener()
    plain = extract(load_dataset(str(root)), lite, cache=tmp_path / "cache", reporter=said)
    assert [line for line in said.warned if "use --levels 0,4095" in line]
    assert [line for line in inspect_dataset(load_dataset(str(root))).warnings if "use --levels 0,4095" in line]
    assert "levels" not in plain.recipe, "keys of old banks do not move"

    scaled = load_backbone("efficientnet_lite0", weights="random:0", image_size=32, levels="0,4095")
    said = Listener()
    bank = extract(load_dataset(str(root)), scaled, cache=tmp_path / "cache", reporter=said)
    assert not [line for line in said.warned if "levels" in line]
    assert bank.recipe["levels"] == "0,4095"
    assert bank.path != plain.path
    assert (bank.features() - 6).mean() > 10 * (plain.features() - 6).mean(), "the pixels, of which 6 is no part"
    shown = np.rint(GREY * (255 / 4095)).astype(np.uint8)
    first = scaled.resize(np.stack([shown] * 3, axis=2)).reshape(-1)[:64].astype(np.float32) / 255 + 6
    np.testing.assert_array_equal(bank.features()[bank.ids().index("a/0.png")], first)
    assert load_recorded(bank.recipe, recorded_source(scaled)).digest == scaled.digest


def test_a_model_file_predicts_with_the_levels_of_its_bank(tmp_path: Path) -> None:
    from featurebank.grafting.certainty.embedding import ModelOutputs
    from featurebank.grafting.metadata import About

    recipe = {"levels": "0,4095"}
    about = About(("a", "b"), 8, "stretch:bicubic:antialias:v1", recipe, "pooled", "softmax", "0" * 32)
    bright: list[float] = []

    def run(images: np.ndarray) -> ModelOutputs:
        bright.append(float(images.mean()))
        return ModelOutputs(np.full((len(images), 2), 0.5, np.float32))

    predict(LoadedModel(run, about), save(tmp_path / "deep"))
    assert 110 < bright[0] < 145
