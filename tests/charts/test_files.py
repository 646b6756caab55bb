"""Charts as files: each kind is what its suffix says, whole or not there, and bad paths are one clear line."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from featurebank.charts.files import save_chart
from featurebank.charts.history import history
from featurebank.errors import ConfigError

CURVES = {"loss": [1.0, 0.5], "val_loss": [1.0, 0.8], "accuracy": [0.4, 0.8], "val_accuracy": [0.4, 0.7]}
NAME = "</script><script>alert('1')</script>"


@pytest.fixture
def chart() -> Any:
    return history({NAME: CURVES, "mlp": CURVES})


def test_a_picture_has_two_pixels_for_each_of_the_chart(chart: Any, tmp_path: Path) -> None:
    light = Image.open(io.BytesIO(save_chart(chart, tmp_path / "c.png").read_bytes()))
    dark = Image.open(io.BytesIO(save_chart(chart, tmp_path / "c.PNG", dark=True).read_bytes()))
    assert light.format == "PNG"
    assert light.width > 2 * 2 * 380
    assert light.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert dark.convert("L").getpixel((0, 0)) < 40
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.PNG", "c.png"]


def test_an_svg_file_shows_names_as_text(chart: Any, tmp_path: Path) -> None:
    text = save_chart(chart, tmp_path / "c.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "&lt;/script>" in text or "&lt;/script&gt;" in text
    assert "<script" not in text


def test_json_is_a_specification_of_vega_lite(chart: Any, tmp_path: Path) -> None:
    values = json.loads(save_chart(chart, tmp_path / "c.json").read_text(encoding="utf-8"))
    assert values["$schema"].startswith("https://vega.github.io/schema/vega-lite/v6")
    assert len(values["hconcat"]) == 2
    assert values["config"]["background"] == "#ffffff"


@pytest.mark.heavy
def test_a_page_draws_itself_in_light_and_dark(chart: Any, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    path = save_chart(chart, tmp_path / "c.html", title="<b>VALUES</b> of LIBRARIES")
    policy = re.search(r"script-src ([^\"]+)", path.read_text(encoding="utf-8"))
    assert policy
    assert "unsafe" not in policy[1]
    for width, dark in ((1280, False), (390, True)):
        page = open_page(path, width, dark=dark)
        page.wait_for_selector(f"main[data-drawn={'dark' if dark else 'light'}]")
        assert page.title() == page.locator("h1").inner_text() == "<b>VALUES</b> of LIBRARIES"
        assert page.locator("main svg").count() == 2
        assert page.locator("text", has_text=NAME).count() >= 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_existing_file_is_replaced_only_if_forced(chart: Any, tmp_path: Path) -> None:
    path = tmp_path / "c.svg"
    path.write_text("old")
    with pytest.raises(ConfigError, match=r"'.*c\.svg' exists: choose another path, or replace it with --force"):
        save_chart(chart, path)
    assert path.read_text() == "old"
    save_chart(chart, path, force=True)
    assert path.read_text() != "old"


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write '.*c\.gif': .* \.png or \.svg or \.json or \.html$"):
        save_chart(history({"softmax": CURVES}), tmp_path / "c.gif")
