"""Contact sheets: whole in themselves, safe with any name, and in a real browser at both widths and in both modes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st

from featurebank.system.html import Picture, picture
from featurebank.system.pages.contact_sheet import PictureGroup, Tile, contact_sheet, write_contact_sheet

pytestmark = pytest.mark.heavy

HOSTILE = "<script>alert('&')</script>\"'><img src=x onerror=a()>\u202etxt\n{{ 7 * 7 }}" + "x" * 200
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


def sheet(text: str) -> str:
    tiles = [
        Tile(picture(IMAGE, text, text), [text, text], 0.9, "val"), Tile(Picture(None, text, text), [text], 7.0, text),
        Tile(Picture(None, "")),
    ]  # fmt: skip
    groups = [PictureGroup(tiles, text, text), PictureGroup(tiles * 3, text, text, lead=tiles[0]), PictureGroup([])]
    return contact_sheet(text, text, groups, facts=[text])


class Structure(HTMLParser):
    """The tags of a page with their attributes, and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.loaded: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))
        self.loaded += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words += data


@given(st.text(min_size=1).filter(str.strip) | st.just(HOSTILE))
def test_no_text_changes_the_structure(text: str) -> None:
    structure = Structure(sheet(text))
    assert structure.tags == Structure(sheet("a")).tags
    assert {"script", "iframe", "form"}.isdisjoint(tag for tag, _ in structure.tags)
    assert not any(name == "style" or name.startswith("on") for _, names in structure.tags for name in names)
    assert all(address.startswith("data:") for address in structure.loaded)


def test_texts_are_shown_as_they_are() -> None:
    words = Structure(sheet(HOSTILE)).words
    assert "<script>alert('&')</script>\"'><img src=x onerror=a()>\\u202etxt {{ 7 * 7 }}" in words


def test_only_the_page_itself_may_style_it(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "page.html", "a", "b", [])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    style = re.search("<style>(.*)</style>", page, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in page


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_in_a_browser(open_page: Callable[..., Any], width: int, dark: bool) -> None:
    page = open_page(sheet(HOSTILE), width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("[...document.images].every(image => image.naturalWidth == 70)")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", colour))) < 50) == dark
    assert Axe().run(page).response["violations"] == []
