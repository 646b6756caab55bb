"""Each rule shows the part of an image that it promises, and is a part of every key."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from featurebank import load_backbone
from featurebank.backbone.resize import (
    AUTO,
    CROP,
    INTERPOLATIONS,
    PAD,
    RULES,
    STRETCH,
    WHOLE,
    central,
    central_of,
    placement,
    resize_image,
    rule_of,
    word_of,
)
from featurebank.errors import ConfigError, UnknownNameError

SIDES = st.integers(1, 300)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


CENTRAL = [central("shorter", 31, "bilinear"), central("stretch", 90, "bicubic"), central("shorter", 90, "lanczos")]


@settings(max_examples=60)
@given(st.sampled_from([*sorted(RULES.values()), *CENTRAL]), SIDES, SIDES, st.integers(1, 80))
def test_any_image_becomes_the_square(rule: str, width: int, height: int, size: int) -> None:
    made = resize_image(noise(height, width), size, rule)
    assert made.shape == (size, size, 3)
    assert made.dtype == np.uint8
    (left, upper, right, lower), inner, corner = placement(rule, width, height, size)
    assert 0 <= left < right <= width
    assert 0 <= upper < lower <= height
    assert all(0 <= c <= c + i <= size for c, i in zip(corner, inner, strict=True))


@settings(max_examples=60)
@given(st.sampled_from([AUTO, CROP, WHOLE, PAD]), SIDES, SIDES, st.integers(1, 80))
def test_all_but_stretch_keep_proportions(rule: str, width: int, height: int, size: int) -> None:
    (left, upper, right, lower), inner, _ = placement(rule, width, height, size)
    wide, high = inner[0] / (right - left), inner[1] / (lower - upper)
    assert wide == pytest.approx(high, abs=1.01 * max(1 / (right - left), 1 / (lower - upper)))


@settings(max_examples=60)
@given(SIDES, SIDES, st.integers(1, 300))
def test_auto_is_whole_for_small_images_and_crop_for_others(width: int, height: int, size: int) -> None:
    other = WHOLE if min(width, height) <= size else CROP
    assert placement(AUTO, width, height, size) == placement(other, width, height, size)


def test_crop_shows_seven_eighths_of_the_shorter_side() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 60:140] = 255  # the crop is 87.5 pixels wide, from 56.25 to 143.75
    made = resize_image(image, 32, CROP)
    assert (made[:, 4:-4] == 255).all()
    assert (made[:, [0, -1]] < 50).all()


def test_whole_is_the_central_square_pixel_by_pixel() -> None:
    image = noise(32, 47)
    assert np.array_equal(resize_image(image, 32, WHOLE), image[:, 7:39])
    square = noise(20, 20)
    whole = np.asarray(Image.fromarray(square).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_image(square, 32, WHOLE), whole)
    assert np.array_equal(resize_image(square, 32), whole), "a small image is not cropped by default"


def test_stretch_shows_all_of_it() -> None:
    image = noise(50, 90)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(resize_image(image, 32, STRETCH), expected)


@pytest.mark.parametrize(("height", "width"), [(50, 100), (100, 50), (1, 200), (64, 64)])
def test_pad_shows_all_of_it_on_black(height: int, width: int) -> None:
    made = resize_image(np.full((height, width, 3), 200, np.uint8), 32, PAD)
    inner = max(1, round(32 * min(height, width) / max(height, width)))
    shown = (made == 200).all(axis=2)
    assert shown.sum() == 32 * inner
    assert (made[~shown] == 0).all()
    rows = np.flatnonzero(shown.any(axis=int(height > width)))
    assert abs(rows[0] - (31 - rows[-1])) <= 1, "in the middle"


@pytest.mark.parametrize("rule", sorted(RULES.values()))
def test_it_is_antialiased(rule: str) -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255  # without antialiasing some columns would be black or white
    made = resize_image(stripes, 32, rule)
    assert made.min() > 100
    assert made.max() < 155


def test_words() -> None:
    assert rule_of(None) == rule_of("auto") == AUTO
    assert [word_of(rule_of(word)) for word in RULES] == list(RULES)
    with pytest.raises(UnknownNameError, match="did you mean 'stretch'"):
        rule_of("stretched")
    with pytest.raises(ConfigError, match=r"'zoom:v9'.*newer"):
        word_of("zoom:v9")


def test_a_backbone_has_the_rule_in_its_key_and_uses_it() -> None:
    options = {"weights": "random:0", "image_size": 32}
    made = {word: load_backbone("vgg16", resize=word, **options) for word in RULES}  # type: ignore[arg-type]
    assert len({backbone.digest for backbone in made.values()}) == len(RULES)
    assert made["crop"].recipe["resize"] == "crop:0.875:bicubic:antialias:v1", "the keys of old banks do not move"
    assert load_backbone("vgg16", **options).digest == made["auto"].digest  # type: ignore[arg-type]
    image = noise(40, 60)
    for word, backbone in made.items():
        assert np.array_equal(backbone.resize(image), resize_image(image, 32, RULES[word]))


@settings(max_examples=60)
@given(
    st.sampled_from(["shorter", "stretch"]), st.sampled_from(sorted(INTERPOLATIONS)), SIDES, SIDES,
    st.integers(8, 60), st.integers(0, 30), st.booleans(),
)  # fmt: skip
def test_central_is_a_resize_and_a_central_crop(
    form: str, interpolation: str, width: int, height: int, size: int, more: int, down: bool
) -> None:
    """As torchvision and transformers do it: first all of the image, then the crop."""
    y, x, channel = np.meshgrid(np.arange(height) / height, np.arange(width) / width, np.arange(3), indexing="ij")
    image = (127.5 + 127 * np.sin(9 * x * (1 + channel) + 7 * y)).astype(np.uint8)
    short, side = min(width, height), size + more
    scaled = (side, side) if form == "stretch" else (int(side * width / short), int(side * height / short))
    whole = Image.fromarray(image).resize(scaled, INTERPOLATIONS[interpolation])
    left, upper = ((length - size) // 2 if down else round((length - size) / 2) for length in scaled)
    expected = np.asarray(whole.crop((left, upper, left + size, upper + size)))
    made = resize_image(image, size, central(form, side, interpolation, rounds_down=down))
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 2


def test_a_rule_of_another_library_is_recorded_and_read_again() -> None:
    rule = central("shorter", 256, "bilinear")
    assert rule_of(word_of(rule)) == rule
    assert rule_of(None, rule) == rule
    assert rule_of("auto", rule) == AUTO
    parts = central_of(rule)
    assert parts
    assert (parts.form, parts.side, parts.interpolation) == ("shorter", 256, "bilinear")
    for form, side, interpolation in (
        ("longer", 256, "bicubic"),
        ("shorter", 0, "bicubic"),
        ("shorter", 256, "nearest"),
    ):
        with pytest.raises(ConfigError, match="expected shorter or stretch"):
            central(form, side, interpolation)
