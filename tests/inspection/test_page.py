"""The page of an inspection: whole in itself, safe with any name, and in a real browser."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import inspect_dataset, load_dataset
from featurebank.augment import Augmentation
from featurebank.bank import Bank
from featurebank.dataset import Skipped
from featurebank.errors import ConfigError
from featurebank.inspection.page import render_page, write_page
from featurebank.inspection.stage import Inspection
from featurebank.inspection.survey import Distribution

pytestmark = pytest.mark.heavy

BROWSER = shutil.which("chromium")
AWKWARD = "train/bee/<script>alert('&')<b>.png"
PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  const told = {
    images: images.length,
    decoded: images.filter(image => image.complete && image.naturalWidth > 0).length,
    window: document.documentElement.clientWidth,
    needed: document.documentElement.scrollWidth,
    over: [...document.querySelectorAll("body *")].filter(
      e => e.getBoundingClientRect().right > document.documentElement.clientWidth + .5).map(e => e.outerHTML),
    loaded: performance.getEntriesByType("resource").map(entry => entry.name).filter(name => !name.startsWith("data:")),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    colours: [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor],
  };
  parent.postMessage(JSON.stringify(told), "*");
});
</script>"""
"""What the browser is asked, in a copy of the page; the page itself has no script and lets none run."""

FRAME = """<!doctype html><pre id="told"></pre>
<script>addEventListener("message", event => document.getElementById("told").textContent = event.data)</script>
<iframe src="page.html" style="width:WIDTHpx; height:900px; border:0"></iframe>"""
"""Around the copy, because a window of the browser is never narrower than 500 pixels, but a frame may be."""


@pytest.fixture
def found(leaky: Path, leaky_bank: Bank) -> Inspection:
    """Everything that a page can show."""
    dataset = load_dataset(str(leaky), split=(0.8, 0.2))
    wanted = Augmentation.parse("flip,rotate=20")
    return inspect_dataset(dataset, bank=leaky_bank, near=0.99999, sample=10, augmentation=wanted, views=2)


class Reading(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_but_itself(found: Inspection) -> None:
    page = render_page(found)
    assert "http:" not in page.replace("http-equiv", "")
    assert "https:" not in page
    assert "url(" not in page
    reading = Reading(page)
    assert {tag for tag, _ in reading.tags} & {"script", "iframe", "object", "embed", "base", "form"} == set()
    for _, attributes in reading.tags:
        assert all(not name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")


def test_names_of_files_are_text_and_nothing_else(found: Inspection) -> None:
    page = render_page(found)
    assert "<script" not in page
    assert "<b>.png" not in page
    assert html.escape(AWKWARD).replace("&#x27;", "&#39;") in page
    titles = [attributes.get("title") for tag, attributes in Reading(page).tags if tag == "img"]
    assert AWKWARD in titles
    names = replace(found, classes=('"><img src=x>', "bee"), unreadable=(Skipped("<i>", "</table><script>"),))
    counts = {split: dict(zip(names.classes, row.values(), strict=True)) for split, row in found.counts.items()}
    reading = Reading(render_page(replace(names, counts=counts, samples={})))
    assert "script" not in {tag for tag, _ in reading.tags}
    assert "</table><script>" in reading.text
    assert '"><img src=x>' in reading.text


def test_all_that_was_found_is_on_the_page(found: Inspection) -> None:
    text = Reading(render_page(found)).text
    for words in (
        found.dataset, "ant", "bee", "train/bee/broken.jpg", "not an image that can be read, but a text",
        "different labels and splits",
        "test/bee/same.png", "test/ant/nearly.png", "cosine 1.0000", "view 2", "32 x 32", "PNG",
        "1 image cannot be read",
    ):  # fmt: skip
        assert words in text, words


def test_pictures_are_the_images(found: Inspection, leaky: Path) -> None:
    sources = [a["src"] or "" for tag, a in Reading(render_page(found)).tags if tag == "img" and a["title"] == AWKWARD]
    data = base64.b64decode(sources[0].partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture, Image.open(leaky / AWKWARD) as original:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(original))  # small: without loss


def test_a_dataset_without_faults_a_bank_or_pictures(tmp_path: Path) -> None:
    text = Reading(render_page(inspect_dataset(load_dataset("digits"), sample=0))).text
    assert "Nothing to mend" in text
    assert "featurebank extract --backbone efficientnet_lite0 --dataset digits" in text


def test_nothing_to_show_at_all(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"no image")
    assert "a/1.jpg" in render_page(inspect_dataset(load_dataset(str(tmp_path))))


def many(found: Inspection, size: int) -> Inspection:
    """The same with many classes, faults and pictures that hardly compress."""
    names = tuple(f"class number {number}" for number in range(size))
    counts = {split: {name: 7 * code + len(name) for name in names} for code, split in enumerate(found.counts)}
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    ids = tuple(f"{name}/{number}.jpg" for name in names for number in range(8))
    return replace(
        found, classes=names, counts=counts, thumbnails=dict.fromkeys(ids, noise),
        samples={name: ids[8 * at : 8 * at + 8] for at, name in enumerate(names)},
        unreadable=tuple(Skipped(f"{number}.jpg", "empty file") for number in range(5000)),
        sizes=dict.fromkeys(found.sizes, Distribution(
            {"min": 1.0, "p5": 2.0, "p25": 3.0, "median": 4.0, "p75": 5.0, "p95": 6.0, "max": 7.0},
            tuple(range(1, 8)), (0, 1, 1000, 3, 0, 9),
        )),
    )  # fmt: skip


def test_the_page_stays_small(found: Inspection) -> None:
    page = render_page(many(found, 5))
    assert len(page) < 3_000_000
    assert "and 4800 more" in page


def test_the_file_is_whole_or_not_there(found: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(found, path)
    assert path.read_text(encoding="utf-8") == render_page(found)
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_an_inspection_writes_its_page(found: Inspection, tmp_path: Path) -> None:
    path = found.write_page(tmp_path / "page.html")
    assert path.read_text(encoding="utf-8") == render_page(found)
    with pytest.raises(ConfigError, match=r"page\.html"):
        found.write_page(path)
    assert found.write_page(path, force=True) == path


def ask(page: str, directory: Path, width: int, *options: str) -> dict[str, Any]:
    """Opens a page in the browser at a width and returns what `PROBE` tells."""
    if BROWSER is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium, which the gate installs")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    free = page.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    assert free != page
    frame = directory / "frame.html"
    (directory / "page.html").write_text(free.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    frame.write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={directory / 'profile'}", "--virtual-time-budget=10000", "--window-size=1800,1000",
            *options, "--dump-dom", frame.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    match = re.search(r'<pre id="told">(.+?)</pre>', done.stdout, re.DOTALL)
    assert match, done.stdout[-2000:]
    told: dict[str, Any] = json.loads(html.unescape(match[1]))
    return told


@pytest.mark.parametrize("width", [400, 1600])
def test_in_a_browser_every_picture_shows_and_nothing_sticks_out(found: Inspection, tmp_path: Path, width: int) -> None:
    told = ask(render_page(found), tmp_path, width)
    assert told["window"] == width
    assert told["needed"] <= width
    assert told["over"] == []
    assert told["images"] == told["decoded"] > 20
    assert told["loaded"] == []
    assert not told["dark"]


def test_names_without_a_space_do_not_push_anything_out(found: Inspection, tmp_path: Path) -> None:
    name = "x" * 120
    counts = {split: {name: 5, "bee": 40} for split in found.counts}
    bad = (Skipped(f"train/{name}/{name}.jpg", "damaged:" + name),)
    samples = {name: found.samples["ant"]}
    page = render_page(
        replace(found, dataset=f"folder:/{name}", classes=(name, "bee"), counts=counts, samples=samples, unreadable=bad)
    )
    told = ask(page.replace("nearly.png", name), tmp_path, 400)
    assert told["needed"] <= 400
    assert told["over"] == []


def test_in_the_dark_the_page_is_dark(found: Inspection, tmp_path: Path) -> None:
    told = ask(render_page(found), tmp_path, 700, "--blink-settings=preferredColorScheme=0")
    assert told["dark"]
    ink, page = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in told["colours"])
    assert ink > 600
    assert page < 150
