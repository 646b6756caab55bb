"""The colours of charts can be read on their pages."""

from __future__ import annotations

import pytest

from featurebank.charts.history import history
from featurebank.charts.theme import SHAPED, apply_theme, class_scale, config
from featurebank.system.html import COLOURS


def luminance(colour: str) -> float:
    """The relative luminance by the Web Content Accessibility Guidelines."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_marks_stand_out_from_the_page(dark: bool) -> None:
    values = config(dark=dark)
    page = values["background"]
    for colour in (values["axis"]["labelColor"], values["axis"]["titleColor"], values["text"]["color"]):
        assert contrast(colour, page) > 4.5
    for colour in (*values["range"]["category"], *COLOURS.values()):
        assert contrast(colour, page) > 2


def test_classes_have_colours_of_their_own_as_long_as_they_last() -> None:
    import altair as alt  # other processes of pytest need not wait for it

    assert len(set(config()["range"]["category"])) == SHAPED
    assert class_scale(SHAPED).scheme is alt.Undefined
    assert class_scale(SHAPED + 1).scheme != alt.Undefined


def test_a_chart_can_be_themed_again() -> None:
    chart = history({"mlp": {"loss": [1.0, 0.5]}})
    assert apply_theme(chart, dark=True).config["background"] != chart.config["background"] == "#ffffff"
