"""The grammar of taps, and what each means in a network of maps and in one of tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.backbone.outline import Outline, TokenLayout
from featurebank.backbone.taps import STEPS, Tap, parse_tap, plain
from featurebank.errors import ConfigError, UnknownNameError

VIT = Outline(
    (),
    {"patch": (14, 14, 8), "flat": (196, 8), "block": (201, 8), "odd": (7, 8), "tokens": (201, 8), "pooled": (8,)},
    TokenLayout.of_grid((14, 14), 5, has_class_token=True),
)
CNN = Outline((), {"conv": (7, 7, 4), "dense": (9,), "map": (7, 7, 4), "cls": (3,)})
SWIN = Outline((), {"early": (64, 4), "tokens": (16, 8), "pooled": (8,)}, TokenLayout.of_grid((4, 4)))
NO_GRID = Outline((), {"tokens": (11, 8), "pooled": (8,)}, TokenLayout(1, True, None, 10))


@pytest.mark.parametrize("tap", ["pooled", "map", "tokens", "cls", "layer", *(f"a/b:{step}" for step in STEPS)])
def test_what_is_parsed_can_be_written_again(tap: str) -> None:
    source, step = parse_tap(tap)
    assert ":".join([source, *([step] if step else [])]) == tap


@pytest.mark.parametrize(
    ("tap", "message"),
    [
        ("", "bad tap ''"), (" map", "bad tap"), (":avg", "bad tap"), ("pooled:avg", "bad tap"), ("cls:max", "bad tap"),
        (None, "bad tap None"), ("map:mean", "'mean' follows the colon, expected avg, max, cls or map, as in 'map:av"),
        ("map:", "'' follows the colon"), ("auto:3GB", "disk budget"),
    ],
)  # fmt: skip
def test_bad_taps(tap: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_tap(tap)


@pytest.mark.parametrize(
    ("outline", "tap", "shape"),
    [
        (VIT, "pooled", (8,)), (VIT, "tokens", (201, 8)), (VIT, "cls", (8,)), (VIT, "map", (14, 14, 8)),
        (VIT, "map:avg", (8,)), (VIT, "tokens:max", (8,)), (VIT, "block", (201, 8)), (VIT, "block:cls", (8,)),
        (VIT, "block:map", (14, 14, 8)), (VIT, "flat:map", (14, 14, 8)), (VIT, "flat:avg", (8,)),
        (VIT, "patch:max", (8,)), (VIT, "patch:map", (14, 14, 8)),
        (CNN, "conv:map", (7, 7, 4)), (CNN, "pooled", (4,)), (CNN, "map", (7, 7, 4)), (CNN, "map:max", (4,)),
        (CNN, "dense", (9,)), (CNN, "cls", (3,)), (SWIN, "early:map", (8, 8, 4)), (SWIN, "map", (4, 4, 8)),
        (NO_GRID, "tokens:avg", (8,)), (NO_GRID, "cls", (8,)),
    ],
)  # fmt: skip
def test_the_shape_of_a_row(outline: Outline, tap: str, shape: tuple[int, ...]) -> None:
    assert outline.tap_shape(tap) == shape
    if parse_tap(tap).is_vector:
        assert len(shape) == 1


@pytest.mark.parametrize(
    ("outline", "tap", "message"),
    [
        (CNN, "tokens", "has no tokens, its last features are a map: use 'pooled' or 'map'"),
        (CNN, "conv:cls", "'conv' is a map of shape .*, without tokens; use ':avg' or ':max'"),
        (
            CNN,
            "dense:avg",
            r"'dense' is an output of shape \(9,\), neither a map nor tokens; leave out ':avg'",
        ),
        (SWIN, "cls", "tap 'cls': the network has no class token; use ':avg', or 'pooled'"),
        (VIT, "flat:cls", "has no class token"),
        (VIT, "odd:avg", "'odd' has 7 rows, and which are patches is not known"),
        (NO_GRID, "map", "the patches are no grid; use 'tokens'"),
        (Outline((), {"pooled": (4,)}), "map", "has no map: use 'pooled', or the name of a layer"),
    ],
)
def test_taps_that_a_network_does_not_have(outline: Outline, tap: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        outline.resolve(tap)
    assert "\n" not in str(caught.value)


def test_an_unknown_layer_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'block'"):
        VIT.resolve("blokc")


@pytest.mark.parametrize("averages", [True, False])
def test_taps_that_are_the_same(averages: bool) -> None:
    for one, other in (("tokens:map", "map"), ("tokens:avg", "map:avg"), ("tokens:max", "map:max")):
        assert plain(one, averages=averages) == plain(other, averages=averages)
        ours, theirs = VIT.resolve(one), VIT.resolve(other)
        assert (ours.source, ours.step, ours.shape) == (theirs.source, theirs.step, theirs.shape)
    assert (plain("pooled", averages=averages) == Tap("map", "avg")) is averages


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(1, 4), st.booleans())
def test_layouts_of_finer_grids(height: int, width: int, prefix: int, times: int, with_prefix: bool) -> None:
    """A layout finds itself, its patches alone, and each grid that is a whole number of times finer."""
    layout = TokenLayout.of_grid((height, width), prefix, has_class_token=prefix > 0)
    assert layout.of_rows(layout.count) == layout
    before = prefix if with_prefix else 0
    other = layout.of_rows(before + height * width * times**2)
    assert other is not None
    assert other.count == before + height * width * times**2
    assert other.grid is not None
    assert other.grid[0] * width == other.grid[1] * height, "the proportions stay"


def test_layouts_say_what_they_are() -> None:
    assert VIT.tokens is not None
    assert VIT.tokens.describe() == "class token, 4 register tokens, 14 x 14 patches"
    assert TokenLayout.of_grid((2, 3), 1).describe() == "1 register token, 2 x 3 patches"
    assert TokenLayout.of_grid((2, 3)).describe() == "2 x 3 patches"
    assert TokenLayout(0, False, None, 7).describe() == "7 patches without a grid"
