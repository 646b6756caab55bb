"""The pictures of the manual: a script makes them, pages show them, and they show what featurebank prints now."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from PIL import Image

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.cli import group

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
DRAWN = {"bank", "content", "joined", "pipeline", "tail"}
MODES = ("light", "dark")
NAMES = {f"{name}-{mode}.svg" for name in (*DRAWN, "quickstart", "leaderboard") for mode in MODES}
NAMES |= {f"report-{mode}.png" for mode in MODES}
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
ELEMENT = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*'
    r'<img alt="([^"]{30,})" src="([^"]+)">\s*</picture>'
)


def test_each_picture_is_shown_in_both_modes() -> None:
    """The same one for light and for dark pages, with a text for readers who do not see it."""
    assert {path.name for path in PICTURES.iterdir()} == NAMES
    shown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = ELEMENT.findall(text)
        assert len(found) == text.count("\n<picture>"), page
        for dark, _, light in found:
            assert dark == light.replace("-light.", "-dark."), page
            shown |= {(page.parent / name).resolve() for name in (dark, light)}
    assert {path.name for path in shown if path.parent == PICTURES} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_pictures_are_small_and_ask_for_nothing(name: str) -> None:
    data = (PICTURES / name).read_bytes()
    assert len(data) < 250_000
    if name.endswith(".svg"):
        assert not re.search(rb"url\([\"']?http|href=|<script|@import", data)
    else:
        with Image.open(PICTURES / name) as picture:
            assert picture.size[0] == 1282  # with its frame


def script(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "docs.drawing", *map(str, words)], cwd=ROOT, check=True, capture_output=True)


def test_the_drawings_are_those_of_the_script(tmp_path: Path) -> None:
    script(tmp_path, "--only-diagrams")
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}-{mode}.svg" for name in DRAWN for mode in MODES}
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (PICTURES / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_drawing_says_what_it_shows_and_can_be_read_on_a_telephone(name: str) -> None:
    root = ElementTree.parse(PICTURES / f"{name}-light.svg").getroot()
    names = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findtext("svg:title", "", names)) > 50
    scale = 390 / int(root.attrib["width"])
    sizes = [float(text.attrib["font-size"]) for text in root.iterfind("svg:text", names)]
    assert min(sizes) * scale > 7.5  # pixels


def test_a_text_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from docs.drawing.canvas import PALETTES, Canvas, TooWideError

    canvas = Canvas(100, 100, "a box", PALETTES["light"])
    canvas.box(0, 0, 100, 50, "short")
    with pytest.raises(TooWideError, match="write less"):
        canvas.box(0, 0, 100, 50, "a text that is too long for its box")


@pytest.mark.parametrize("mode", MODES)
def test_the_picture_has_the_columns_of_the_leaderboard(mode: str, make_bank: Callable[..., Bank]) -> None:
    rows = shown_lines(PICTURES / f"leaderboard-{mode}.svg")
    assert ["selected", "by", "validation:"] in [row[:3] for row in rows]

    bank = make_bank(taps=("block6d_add:avg",))  # the widest tap of the picture
    train_heads(bank, [{"kind": "nearest_mean", "name": "a name that fills the column of heads"}])
    printed = CliRunner().invoke(group, ["leaderboard", "--bank", str(bank.path)], env={"COLUMNS": "120"}).stdout
    assert next(line for line in printed.splitlines() if line.strip()).split() in rows


def shown_lines(picture: Path) -> list[list[str]]:
    """Returns the words of each line of a recorded terminal."""
    lines: dict[str, str] = {}
    for text in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:  # the title of the window has none
            lines[text.attrib["y"]] = lines.get(text.attrib["y"], "") + "  " + (text.text or "")
    return [line.replace("\N{NO-BREAK SPACE}", " ").split() for line in lines.values()]


@pytest.mark.slow
def test_the_script_makes_the_pictures(tmp_path: Path) -> None:
    script(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
