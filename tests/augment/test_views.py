"""A view is decided by content, number and specification alone, and is what the specification says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from featurebank.augment import Augmentation, ViewParameters, augment, draw
from featurebank.augment.specification import LARGEST
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.system import digest

pytestmark = pytest.mark.heavy

FULL = "flip=both,rotate=10,zoom=.2,shear=.2,shift=.1,contrast=.2,noise=.05"

strengths = st.fixed_dictionaries(
    {"flip": st.sampled_from(["", "horizontal", "vertical", "both"])},
    optional={name: st.floats(0, most) for name, most in LARGEST.items()},
).filter(lambda values: any(values.values()))
augmentations = strengths.map(lambda values: Augmentation(**values))
pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def digests(count: int) -> np.ndarray:
    return np.array([f"{number:032x}".encode() for number in range(count)], "S32")


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + y / 7), np.cos(x / 8 - y / 11), np.sin(x / 12) * np.cos(y / 10)]
    return np.stack([np.rint(127.5 + 120 * wave) for wave in waves], axis=2).astype(np.uint8)


def one(image: np.ndarray, text: str, number: int = 0, view: int = 1) -> tuple[np.ndarray, ViewParameters]:
    """Returns a view of one image and what was drawn for it."""
    augmentation, names = Augmentation.parse(text), digests(number + 1)[number:]
    return augment(image[np.newaxis], augmentation, names, view)[0], draw(augmentation, names[0], view)


def number_where(text: str, wanted: str, low: float, high: float) -> int:
    """Returns the number of the first digest for which a parameter is drawn in a range."""
    augmentation = Augmentation.parse(text)
    drawn = ((number, draw(augmentation, f"{number:032x}".encode(), 1)) for number in itertools.count())
    return next(number for number, values in drawn if low <= getattr(values, wanted) <= high)


def folded(position: int, size: int) -> int:
    inside = position % (2 * size)
    return min(inside, 2 * size - 1 - inside)


def reference(image: np.ndarray, drawn: ViewParameters) -> np.ndarray:
    """The affine map in floating point, pixel by pixel, from the matrices that the words describe."""
    height, width = image.shape[:2]
    angle = math.radians(drawn.angle)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    back = np.linalg.inv(turn @ np.array([[1, drawn.shear], [0, 1]]) * drawn.zoom)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([drawn.right * width, drawn.down * height])
    image = image[:: -1 if drawn.vertical else 1, :: -1 if drawn.horizontal else 1].astype(float)
    result = np.empty_like(image)
    for row, column in np.ndindex(height, width):
        x, y = back @ (np.array([column, row]) - centre - shift) + centre
        left, top = math.floor(x), math.floor(y)
        value = np.zeros(3)
        for down, right in np.ndindex(2, 2):
            weight = abs(1 - right - (x - left)) * abs(1 - down - (y - top))
            value += weight * image[folded(top + down, height), folded(left + right, width)]
        result[row, column] = value
    return result


# --- the text


def test_the_text_is_canonical() -> None:
    augmentation = Augmentation.parse(" noise=0.050, flip ,rotate=10.0,zoom=2e-1,shear=0")
    assert str(augmentation) == "flip,rotate=10,zoom=.2,noise=.05"
    assert augmentation.recipe == {"augment": "flip,rotate=10,zoom=.2,noise=.05", "rule": "v1"}
    assert augmentation == Augmentation(flip="horizontal", rotate=10, zoom=0.2, noise=0.05)


@given(augmentations)
def test_the_text_means_the_same(augmentation: Augmentation) -> None:
    again = Augmentation.parse(str(augmentation))
    assert again == augmentation
    assert str(again) == str(augmentation)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Augmentation.parse("rotatee=10,zoom=x,shear=3,flip=diagonal,noise,contrast=.1,contrast=.2")
    assert str(caught.value).split("; ") == [
        "unknown augmentation 'rotatee': did you mean 'rotate'?",
        "augmentation 'zoom=x' has no strength: expected a number from 0 to 0.9, as zoom=.1",
        "unknown flip 'diagonal': known: horizontal, vertical, both",
        "augmentation 'noise' has no strength: expected a number from 0 to 1, as noise=.1",
        "augmentation 'contrast' is given twice: expected it once",
        "augmentation shear is 3.0: expected a number from 0 to 1",
    ]
    with pytest.raises(UnknownNameError, match="did you mean 'flip'"):
        Augmentation.parse("flp")


@pytest.mark.parametrize("text", ["", " , ", "rotate=0,noise=0.0"])
def test_nothing_to_do_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="changes nothing: expected at least one strength above 0"):
        Augmentation.parse(text)


@pytest.mark.parametrize(
    "text", ["rotate=nan", "rotate=inf", "rotate=-1", "rotate=1_0", "rotate=", "zoom=1", "shift=+1"]
)
def test_odd_numbers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"{text.partition('=')[0]}.*: expected a number from 0 to"):
        Augmentation.parse(text)


@pytest.mark.parametrize("value", [-0.1, 181, math.nan, True, "10"])
def test_a_wrong_strength_is_refused_in_python_too(value: float) -> None:
    with pytest.raises(ConfigError, match=r"augmentation rotate is .*: expected a number from 0 to 180"):
        Augmentation(rotate=value)


def test_view_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="view 0 cannot be augmented: expected 1 or more"):
        augment(smooth(4, 4)[np.newaxis], Augmentation(flip="both"), digests(1), 0)


# --- the same bytes, always


GOLDEN = {
    "flip=both": "28c424529bd0ac3dca62c9f15bddb454",
    "rotate=10": "ca621209c76c1d1a2dd1919b263e7ae1",
    "zoom=.9,rotate=180": "a4ca152e21bbc5393324d0b239dc2bda",
    "shift=.5,shear=1": "8d75b6c95bc21cf5d276cf1764be0402",
    "contrast=1": "596dc0f8dc879282964699920d619c1b",
    "noise=.1": "593670939efe27619092b7bfbc2b9f78",
    FULL: "9a19f8331f0310e231a6adb7484884c1",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_bytes(text: str) -> None:
    """If one of these changes, every bank of augmented views is orphaned: give RULE a new version."""
    y, x, lane = np.ogrid[:37, :53, :3]
    rings = ((x - 20) ** 2 + (y - 15) ** 2 + 40 * lane) // 9 % 256
    grain = np.random.Philox(key=0).random_raw(37 * 53 * 3).reshape(37, 53, 3) % 256
    images = np.stack([rings, grain]).astype(np.uint8)
    views = [augment(images, Augmentation.parse(text), digests(2), view) for view in (1, 2)]
    assert digest.of_array(np.stack(views)) == GOLDEN[text]


@settings(max_examples=50)
@given(st.data(), augmentations, pictures, st.integers(1, 255))
def test_company_and_order_do_not_matter(
    data: st.DataObject, augmentation: Augmentation, picture: np.ndarray, view: int
) -> None:
    others = data.draw(hnp.arrays(np.uint8, (data.draw(st.integers(0, 3)), *picture.shape)))
    place = data.draw(st.integers(0, len(others)))
    names = digests(len(others) + 1)
    together = augment(np.insert(others, place, picture, axis=0), augmentation, names, view)
    alone = augment(picture[np.newaxis], augmentation, names[place : place + 1], view)
    assert np.array_equal(together[place], alone[0])
    assert together.dtype == np.uint8


def test_a_view_leaves_its_image_alone() -> None:
    image = smooth(20, 30)
    before = image.copy()
    one(image, FULL)
    assert np.array_equal(image, before)


def test_views_and_contents_differ() -> None:
    image = smooth(20, 30)
    made = [one(image, FULL, number, view)[0].tobytes() for number in range(4) for view in (1, 2, 255)]
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("part", ["rotate=10", "zoom=.2", "shear=.2", "shift=.1", "contrast=.2", "noise=.05"])
def test_one_more_kind_changes_no_other(part: str) -> None:
    name = part.partition("=")[0]
    drawn = {"rotate": {"angle"}, "shift": {"right", "down"}, "noise": set()}.get(name, {name})
    for number in range(5):
        small = draw(Augmentation.parse("flip=both"), digests(5)[number], 1)
        large = draw(Augmentation.parse(f"flip=both,{part}"), digests(5)[number], 1)
        assert {field for field, value in vars(small).items() if getattr(large, field) != value} == drawn


def test_strips_leave_no_seams() -> None:
    """A picture larger than what is worked on at once (2^15 pixels) is as its reference across all of it."""
    image = smooth(160, 250)
    view, drawn = one(image, "rotate=20,zoom=.3")
    assert np.abs(view - reference(image, drawn)).max() <= 2


# --- the meaning


def test_parameters_are_uniform_about_their_centre() -> None:
    augmentation = Augmentation.parse(FULL)
    drawn = [draw(augmentation, name, view) for name in digests(2000) for view in (1, 2)]
    for name, centre, width in [("angle", 0, 10), ("zoom", 1, 0.2), ("shear", 0, 0.2), ("contrast", 1, 0.2)] + [
        (name, 0, 0.1) for name in ("right", "down")
    ]:
        values = (np.array([getattr(one, name) for one in drawn]) - centre) / width
        assert abs(values.mean()) < 0.04
        assert abs(values.std() - 1 / math.sqrt(3)) < 0.02
        assert np.abs(values).max() <= 1
    for name in ("horizontal", "vertical"):
        assert abs(np.mean([getattr(one, name) for one in drawn]) - 0.5) < 0.03
    assert abs(np.corrcoef([one.horizontal for one in drawn], [one.vertical for one in drawn])[0, 1]) < 0.05


@pytest.mark.parametrize(("text", "axes"), [("flip", (1,)), ("flip=vertical", (0,)), ("flip=both", (0, 1))])
def test_flip(text: str, axes: tuple[int, ...]) -> None:
    image = smooth(11, 14)
    expected = {np.flip(image, chosen).tobytes() for size in range(3) for chosen in itertools.combinations(axes, size)}
    assert {one(image, text, number)[0].tobytes() for number in range(40)} == expected


@pytest.mark.parametrize(("name", "axis"), [("right", 1), ("down", 0)])
def test_shift_moves_a_dot(name: str, axis: int) -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[50, 50] = 255
    view, drawn = one(image, "shift=.2", number_where("shift=.2", name, 0.1, 0.15))
    place = np.average(np.arange(100), weights=view[:, :, 0].sum(axis=1 - axis))
    assert place == pytest.approx(50 + 100 * getattr(drawn, name), abs=0.1)


def test_rotate_keeps_the_centre_and_turns_clockwise() -> None:
    image = np.zeros((101, 101, 3), np.uint8)
    image[49:52, 49:52], image[49:52, 79:82] = 255, 100
    view, drawn = one(image, "rotate=45", number_where("rotate=45", "angle", 30, 45))
    assert (view[50, 50] == 255).all()
    angle = math.radians(drawn.angle)
    assert view[50 + round(30 * math.sin(angle)), 50 + round(30 * math.cos(angle)), 0] > 80


@pytest.mark.parametrize(("low", "high"), [(1.3, 1.5), (0.5, 0.7)])
def test_zoom_changes_the_size_of_things(low: float, high: float) -> None:
    image = np.zeros((120, 120, 3), np.uint8)
    image[50:70, 45:75] = 255
    view, drawn = one(image, "zoom=.5", number_where("zoom=.5", "zoom", low, high))
    area = view[20:100, 15:105, 0].sum() / 255  # without what is reflected
    assert area == pytest.approx(600 * drawn.zoom**2, rel=0.08)


def test_shear_moves_rows_by_their_height() -> None:
    image = np.zeros((101, 101, 3), np.uint8)
    image[:, 50] = 255
    view, drawn = one(image, "shear=.5", number_where("shear=.5", "shear", 0.3, 0.5))
    places = (view[:, :, 0] * np.arange(101.0)).sum(axis=1) / view[:, :, 0].sum(axis=1)
    assert places[50] == pytest.approx(50)
    assert places[80] - places[20] == pytest.approx(60 * drawn.shear, abs=0.1)


def test_contrast_is_about_each_channels_mean() -> None:
    image = smooth(40, 60) // 2 + np.array([30, 60, 90], np.uint8)
    view, drawn = one(image, "contrast=.3")
    mean = image.mean(axis=(0, 1))
    assert np.abs(view - (mean + (image - mean) * drawn.contrast)).max() <= 0.51
    flat = np.full((5, 7, 3), (10, 128, 250), np.uint8)
    assert np.array_equal(one(flat, "contrast=1")[0], flat)


def test_contrast_and_noise_stop_at_black_and_white() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = 255
    number = number_where("contrast=1", "contrast", 1.5, 2)
    assert np.array_equal(one(image, "contrast=1", number)[0], image)
    assert {0, 255} <= set(one(image, "noise=1")[0].ravel().tolist())


@pytest.mark.parametrize("strength", [0.02, 0.1])
def test_noise_is_gaussian_and_independent(strength: float) -> None:
    view, _ = one(np.full((200, 200, 3), 128, np.uint8), f"noise={strength}")
    noise = view.astype(float) - 128
    deviation = strength * 255
    assert noise.std() == pytest.approx(deviation, rel=0.03)
    assert abs(noise.mean()) < 0.02 * deviation
    assert np.mean(np.abs(noise) < deviation) == pytest.approx(0.683, abs=0.02 + 0.5 / deviation)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.02
    assert abs(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("size", [(31, 47), (40, 24), (1, 9), (1, 1)])
@pytest.mark.parametrize(
    "text", ["rotate=10", "rotate=180", "zoom=.2", "shear=1", "shift=1", "zoom=.9", FULL.partition(",contrast")[0]]
)
def test_the_map_is_what_it_is_called(text: str, size: tuple[int, int]) -> None:
    image = smooth(*size)
    for number in range(4):
        view, drawn = one(image, text, number)
        assert np.abs(view - reference(image, drawn)).max() <= 2
