"""Contact sheets: whole in themselves, safe with any name, and in a real browser at both widths and in both modes."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright

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


def test_in_a_browser(tmp_path: Path) -> None:
    browser_path = shutil.which("chromium")
    if browser_path is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium, which the gate installs")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    path = tmp_path / "page.html"
    path.write_text(sheet(HOSTILE), encoding="utf-8")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        for width, mode, is_dark in ((390, "light", False), (1280, "dark", True)):
            context = browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=mode, bypass_csp=is_dark
            )
            page, lines = context.new_page(), []
            page.on("console", lambda line, lines=lines: lines.append(line.text))
            page.goto(path.as_uri())
            assert lines == []
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.evaluate("[...document.images].every(image => image.naturalWidth == 70)")
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (max(map(int, re.findall(r"\d+", colour))) < 50) == is_dark
            if is_dark:  # axe is a script, which the page itself does not allow
                assert Axe().run(page).response["violations"] == []
        browser.close()
