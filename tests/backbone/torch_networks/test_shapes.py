"""The axis of channels."""

from __future__ import annotations

import pytest

from featurebank.backbone.torch_networks.shapes import Arranged, arranged


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5,), Arranged((5,), is_channels_last=True)),
        ((197, 5), Arranged((197, 5), is_channels_last=True)),
        ((5, 7, 7), Arranged((7, 7, 5), is_channels_last=False)),
        ((7, 7, 5), Arranged((7, 7, 5), is_channels_last=True)),
        ((7, 7, 7), Arranged((7, 7, 7), is_channels_last=False)),
        ((3, 5, 7), None),
        ((7, 5, 7), None),
        ((), None),
        ((2, 2, 2, 2), None),
    ],
)
def test_the_axis_of_channels_follows_from_a_square_image(shape: tuple[int, ...], expected: Arranged | None) -> None:
    assert arranged(shape, is_channels_last=False) == expected


def test_a_cube_is_as_the_network_says() -> None:
    assert arranged((7, 7, 7), is_channels_last=True) == Arranged((7, 7, 7), is_channels_last=True)
