"""A heat map lies over the part of the picture that it belongs to, whatever the resize rule and the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.backbone.resize import CROP, PAD, RULES, resize_image
from featurebank.explanation.overlay import Frame, colours, overlaid, spread

SIZE, CELLS = 56, 7


def heat_of(square: np.ndarray) -> np.ndarray:
    """Returns the mean brightness of each of 7 x 7 cells: what a network that looks for white would say."""
    side = SIZE // CELLS
    return (square[..., 0].reshape(CELLS, side, CELLS, side).mean(axis=(1, 3)) / 255).astype(np.float32)


@settings(max_examples=40)
@given(
    rule=st.sampled_from(sorted(RULES.values())), width=st.integers(40, 200), height=st.integers(40, 200),
    across=st.floats(0.35, 0.65), down=st.floats(0.35, 0.65),
)  # fmt: skip
def test_heat_lies_where_its_cause_is(rule: str, width: int, height: int, across: float, down: float) -> None:
    """A white spot on a black image, resized as for a network: the middle of the heat is the middle of the spot."""
    reach = min(width, height) / 8
    x, y = width / 2 + (across - 0.5) * min(width, height), height / 2 + (down - 0.5) * min(width, height)
    image = np.zeros((height, width, 3), np.uint8)
    image[round(y - reach) : round(y + reach), round(x - reach) : round(x + reach)] = 255
    frame = Frame(width, height, SIZE, rule)
    heat, seen = spread(heat_of(resize_image(image, SIZE, rule)), frame, width, height)
    assert heat.shape == seen.shape == (height, width)
    assert heat.min() >= 0
    assert heat.max() <= 1
    assert not heat[~seen].any()
    middle = [float((heat.sum(axis=axis) * np.arange(n)).sum() / heat.sum()) for axis, n in ((0, width), (1, height))]
    cell = max(width, height) / CELLS
    assert middle == pytest.approx([x, y], abs=cell / 2)


def test_a_crop_shows_the_central_part_alone() -> None:
    """The corner of the network's square is not the corner of the image."""
    corner = np.zeros((7, 7), np.float32)
    corner[0, 0] = 1
    heat, seen = spread(corner, Frame(200, 100, SIZE, CROP), 200, 100)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert (abs(int(y) - 6) < 8, abs(int(x) - 56) < 8) == (True, True)
    assert seen.sum() == pytest.approx(87.5**2, rel=0.03)
    whole = spread(corner, Frame(SIZE, SIZE, SIZE, CROP), SIZE, SIZE)[1]
    assert whole.all(), "an image of the network's size is not cropped"


def test_the_black_bars_of_padding_have_no_place_in_the_picture() -> None:
    bars = np.zeros((7, 7), np.float32)
    bars[0] = bars[-1] = 1
    heat, seen = spread(bars, Frame(280, 40, SIZE, PAD), 280, 40)
    assert seen.all()
    assert heat.max() < 0.01


def test_the_picture_stays_readable() -> None:
    picture = np.random.default_rng(0).integers(60, 190, (80, 120, 3)).astype(np.uint8)
    heat = np.zeros((7, 7), np.float32)
    heat[3, 3] = 1
    shown = overlaid(picture, heat, Frame(120, 80, SIZE, CROP))
    assert shown.shape == picture.shape
    assert shown.dtype == np.uint8
    assert shown[40, 60].astype(int).max() - shown[40, 60].astype(int).min() > 40  # the colour of strong heat
    outside, inside = (shown[:, :10].mean(), picture[:, :10].mean()), (shown[8:20, 30:40], picture[8:20, 30:40])
    assert outside[0] > outside[1] + 20  # fog where the network does not look
    grey = inside[1] @ np.array([0.299, 0.587, 0.114])
    assert np.corrcoef(inside[0].mean(axis=-1).ravel(), grey.ravel())[0, 1] > 0.9  # the photo, where there is no heat


def test_colours_are_in_the_order_of_brightness() -> None:
    """So they can be told apart with any kind of colour blindness, and in a grey copy."""
    brightness = colours(np.linspace(0, 1, 50)) @ np.array([0.2126, 0.7152, 0.0722])
    steps = np.diff(brightness)
    assert (steps > 0).all()
    assert steps.max() < 3.5 * steps.mean()
