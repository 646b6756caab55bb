"""The page of a report: in a browser, without its script, and with any name."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from report_contents import HOSTILE, report_content

from featurebank.reporting.content import Conclusion
from featurebank.reporting.page import render_page, write_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.heavy

STRUCTURE = """() => [...document.querySelectorAll("*")].filter(e => !e.closest(".drawing > *"))
    .map(e => e.tagName + " " + [...e.attributes].map(a => a.name).sort())"""
"""Every element with the names of its attributes, but for the insides of charts."""
TOO_WIDE = """() => [...document.querySelectorAll("body, body *")].filter(
    e => !e.closest(".scroll > *, .skip, .away, svg > *")
        && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
).map(e => e.outerHTML.slice(0, 99))"""


class Reading(HTMLParser):
    """What a reader without scripts gets: tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._within = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._within = tag if tag in {"script", "style"} else ""

    def handle_endtag(self, tag: str) -> None:
        self._within = "" if tag == self._within else self._within

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._within, []).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts[""]).split())


@pytest.fixture(scope="module")
def html() -> str:
    return render_page(report_content())


@pytest.fixture(scope="module")
def short() -> str:
    """A page with everything, and little of it."""
    return render_page(report_content(rows=9, pictures=22))


@pytest.fixture
def drawn(open_page: Callable[..., Page], html: str) -> Callable[..., Page]:
    """Opens a page and waits for its first chart."""

    def open_drawn(source: str = html, **options: Any) -> Page:
        page = open_page(source, **options)
        page.emulate_media(reduced_motion="reduce")  # no smooth scrolling
        page.locator(".drawing svg").first.wait_for(state="attached")
        return page

    return open_drawn


def test_without_its_script_the_page_still_reads(html: str) -> None:
    reading = Reading(html)
    content = report_content()
    for section in content.banks[0].sections:
        assert section.conclusion.title in reading.text
        assert section.conclusion.sentence in reading.text
    for expected in ("94.0 %", "80 train · 20 val", "the file is gone", "Scripts are off", "89.8 to 94.8 %"):
        assert expected in reading.text
    assert "the loss is not a number from epoch 2 on" in reading.text, "a failed run has its reason"
    hidden = [attributes for tag, attributes in reading.tags if tag in {"button", "select", "input"}]
    assert len(hidden) < 12, "controls that do nothing without the script are added by it, or hidden"
    assert not [attributes for tag, attributes in reading.tags if tag == "tr" and "hidden" in attributes]


def test_a_long_sentence_stays_whole() -> None:
    sentence = f"{'softmax(learning_rate=0.003) ' * 30}is right."
    report = report_content()
    bank = report.banks[0]
    sections = [replace(part, conclusion=Conclusion(part.conclusion.title, sentence)) for part in bank.sections]
    text = Reading(render_page(replace(report, banks=[replace(bank, sections=sections)]))).text
    assert text.count(sentence) == len(sections)


def test_a_browser_may_run_the_scripts_of_the_page_and_load_nothing(html: str) -> None:
    reading = Reading(html)
    policy = next(a["content"] for tag, a in reading.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert "base-uri 'none'; form-action 'none'" in policy
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    allowed = re.search(r"script-src ([^;]+);", policy)
    assert allowed is not None
    assert set(allowed[1].split()) == {f"'sha256-{digest}'" for digest in digests}
    assert len(digests) == 2
    addresses = [a.get(name) or "" for _, a in reading.tags for name in ("src", "href", "action")]
    assert all(address.startswith(("#", "data:")) or not address for address in addresses)
    assert not [a for _, a in reading.tags if any(name.startswith("on") or name == "style" for name in a)]


def test_a_picture_is_stored_once_however_often_it_is_shown(html: str) -> None:
    shown = [a["data-picture"] for tag, a in Reading(html).tags if tag == "img"]
    assert len(shown) > len(set(shown))
    uris = re.findall(r"data:image/jpeg;base64,[^\"]+", html)
    assert len(uris) == len(set(uris)) > len(set(shown)), "pictures of the map and of cells, too"


def test_pages_of_300_heads_and_160_pictures_are_small_and_open_at_once(drawn: Callable[..., Page]) -> None:
    large = render_page(report_content(rows=300, pictures=160))
    assert len(large.encode()) < 4e6
    page = drawn(large)
    times = page.evaluate(
        "({ loaded: performance.getEntriesByType('navigation')[0].loadEventEnd, drawn: performance.now() })"
    )
    print(f"{len(large) / 1e6:.1f} MB: loaded in {times['loaded']:.0f} ms, first chart in {times['drawn']:.0f} ms")  # noqa: T201
    assert page.locator(".board tbody tr:visible").count() == 25
    assert page.locator(".DataDoubts img[src]").count() == 0, "pictures far below are not decoded yet"


def test_the_page_says_at_its_beginning_what_it_was_made_from(tmp_path: Path) -> None:
    write_page(report_content(rows=4, pictures=6), tmp_path / "new" / "report.html")
    begin = (tmp_path / "new" / "report.html").read_bytes()[:4096]
    assert b'<meta name="featurebank-report" content="' in begin


def test_the_leaderboard_sorts_filters_and_opens_curves(drawn: Callable[..., Page]) -> None:
    page = drawn()
    heads = page.locator(".board tbody tr:visible th button")
    status = page.locator(".Board [role=status]")
    assert status.inner_text() == "40 heads; the first 25 are shown"

    page.get_by_role("button", name="Parameters").click()
    assert page.locator(".board th[aria-sort]").inner_text().startswith("Parameters")
    parameters = page.locator(".board tbody tr:visible td:nth-child(8)")
    most = [int(text.replace(",", "")) for text in parameters.all_inner_texts()]
    assert most == sorted(most, reverse=True)
    page.get_by_role("button", name="Show all 40").click()
    last = parameters.all_inner_texts()[-8:]
    page.get_by_role("button", name="Parameters").click()
    assert last == [""] * 8 == parameters.all_inner_texts()[-8:]
    page.get_by_role("button", name="Head", exact=True).click()
    names = heads.all_inner_texts()
    assert names[0].startswith("boosted")
    assert names[-1].startswith("svm")

    page.locator(".Board [name=kind]").select_option("mlp")
    page.locator(".Board [name=tap]").select_option("block4")
    page.locator(".Board [name=text]").fill("UNDER-fits")
    assert status.inner_text() == "2 of 40 heads match"
    assert all(name.startswith("mlp") for name in heads.all_inner_texts())
    page.locator(".Board [name=text]").fill("no such head")
    assert status.inner_text() == "None of 40 heads match"
    page.locator(".Board [name=text]").fill("")
    page.locator(".Board [name=tap]").select_option("")
    page.locator(".Board [name=kind]").select_option("softmax")

    heads.nth(1).focus()
    page.keyboard.press("Enter")
    panel = page.locator("dialog")
    panel.locator("svg").nth(1).wait_for()
    assert panel.get_by_role("heading").inner_text() == heads.nth(1).inner_text()
    assert "over-fitting" in panel.inner_text()
    assert "best epoch 12" in panel.inner_text()
    assert "validation" in panel.inner_text()
    panel.get_by_role("button", name="Next head").click()
    assert panel.get_by_role("heading").inner_text() == heads.nth(2).inner_text()
    page.keyboard.press("Escape")
    assert not panel.is_visible()
    assert page.evaluate("document.activeElement.textContent") == heads.nth(1).inner_text()

    page.locator(".Board [name=kind]").select_option("logistic")
    page.locator(".board tbody tr:visible td").first.click()
    assert "not trained in epochs" in panel.inner_text()
    page.keyboard.press("Escape")
    page.locator(".Board [name=kind]").select_option("")

    brush_and_walk(page)


def brush_and_walk(page: Page) -> None:
    """Checks that points of the chart and rows of the table are linked both ways."""
    status = page.locator(".Board [role=status]")
    chart = page.locator("figure[data-kind=by-cost] svg").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] * 0.7, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Clear the selection").wait_for()
    matching = re.fullmatch(r"(\d+) of 40 heads match", status.inner_text())
    assert matching is not None, status.inner_text()
    brushed = [float(text) for text in page.locator(".board tbody tr:visible td:nth-child(7)").all_inner_texts()]
    assert 0 < len(brushed) == int(matching[1]) < 20
    assert min(brushed) > 0.2
    page.get_by_role("button", name="Clear the selection").click()
    assert status.inner_text() == "40 heads"

    row = page.locator(".board tbody tr:visible").nth(2)
    size = (
        "Math.max(...[...document.querySelectorAll('figure[data-kind=by-cost] path')].map(p => +p.__data__?.size || 0))"
    )
    before = page.evaluate(size)
    row.hover()
    page.wait_for_timeout(100)
    assert page.evaluate(size) > before, "the point of the row under the mouse is larger"

    page.locator(".Board [name=kind]").select_option("knn")
    point = page.locator("figure[data-kind=by-cost] path[tabindex='0']").first
    point.focus()
    assert "95 % interval" in page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    head = page.evaluate("document.activeElement.closest('tr').querySelector('.name').textContent")
    assert head in label
    assert page.locator(f".board tr:has-text({head!r})").first.is_visible()
    page.keyboard.press("Enter")
    assert page.locator("dialog").is_visible()


def test_pictures_stand_behind_the_cells_of_the_matrix_and_the_points_of_the_map(drawn: Callable[..., Page]) -> None:
    page = drawn()
    page.get_by_role("button", name="2: daisy predicted as dandelion").click()
    panel = page.locator("dialog")
    assert panel.get_by_role("heading").inner_text() == "daisy taken for dandelion: 2 images"
    assert panel.locator("img").count() == 2
    assert panel.locator(".gone").inner_text() == "the file is gone"
    assert panel.locator("img").first.get_attribute("alt") == "val/image_0000.jpg, daisy"
    assert panel.locator("img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 96
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "2: daisy predicted as dandelion"

    image = page.locator(".Mistakes img[data-heat]").first
    image.scroll_into_view_if_needed()
    page.locator(".Mistakes img[data-heat][src]").first.wait_for()
    before = image.get_attribute("src")
    page.get_by_role("button", name="Show the heat maps").click()
    assert image.get_attribute("src") != before
    page.get_by_role("button", name="Show the heat maps").click()
    assert image.get_attribute("src") == before

    page.get_by_role("button", name="t-SNE").click()
    shown = page.locator("figure[data-kind=map]:visible")
    shown.locator("path[tabindex='0']").focus()
    assert page.locator("#tip img").count() == 1
    assert page.locator("figure[data-kind=map]:visible").count() == 1


def test_dark_and_light_colours_by_system_and_by_hand(drawn: Callable[..., Page], short: str) -> None:
    page = drawn(short, dark=True)
    colours = """[document.body, document.querySelector('.drawing svg text')].map(
        e => getComputedStyle(e).backgroundColor + getComputedStyle(e).fill)"""
    dark = page.evaluate(colours)
    page.get_by_role("button", name="Light colours").click()
    page.wait_for_timeout(300)
    light = page.evaluate(colours)
    assert dark != light
    assert light[0].startswith("rgb(255, 255, 255)")
    for name in ("Dark", "Light", "Dark"):  # faster than charts are drawn
        page.get_by_role("button", name=f"{name} colours").click()
    page.wait_for_timeout(300)
    assert page.evaluate(colours) == dark


def test_the_keyboard_alone_reaches_everything(open_page: Callable[..., Page], short: str) -> None:
    page = open_page(short)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(
            "(e => [e.tagName, e.type || e.className || '', getComputedStyle(e).outlineStyle])(document.activeElement)"
        ))  # fmt: skip
    assert reached[0][:2] == ["A", "skip"]
    kinds = {tag for tag, _, _ in reached}
    assert {"A", "BUTTON", "SELECT", "INPUT", "SUMMARY", "path", "DIV"} <= kinds
    assert all(style != "none" for tag, _, style in reached if tag != "BODY"), "the focus can be seen"


def test_axe_finds_nothing_that_keeps_people_out_in_light_and_dark(drawn: Callable[..., Page], short: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = drawn(short)
    page.locator(".board tbody tr:visible th button").first.click()
    page.locator("dialog svg").nth(1).wait_for()
    answers = [Axe().run(page, "dialog")]
    page.keyboard.press("Escape")
    answers.append(Axe().run(page))
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    page.get_by_role("button", name="Light colours").wait_for()
    answers.append(
        Axe().run(page, options={"runOnly": ["color-contrast", "scrollable-region-focusable", "target-size"]})
    )
    serious = [
        (found["id"], found["nodes"][0]["html"])
        for answer in answers
        for found in answer.response["violations"]
        if found["impact"] in {"serious", "critical"}
    ]
    assert serious == []
    assert answers[-1].response["passes"]


def test_hostile_names_are_text_everywhere(drawn: Callable[..., Page]) -> None:
    harmless = tuple(f"class {letter}" for letter in "abcdefghijkl")
    pages = [
        drawn(render_page(report_content(names, rows=9, pictures=24, files=[f"val/{n}.jpg" for n in names])), width=390)
        for names in (harmless, HOSTILE)
    ]
    plain, hostile = pages
    hostile.on("dialog", lambda dialog: pytest.fail(f"a name opened a dialog: {dialog.message}"))
    assert hostile.evaluate(STRUCTURE) == plain.evaluate(STRUCTURE)
    assert hostile.evaluate("document.querySelectorAll('figure svg :is(script, image, a, foreignObject)').length") == 0
    assert hostile.evaluate(TOO_WIDE) == []
    assert hostile.evaluate("document.documentElement.scrollWidth") == 390
    text = hostile.locator("main").inner_text()
    for name in ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "{{7*7}} ${7*7} <!--", "__proto__"):
        assert name in text
    hostile.locator("[data-cell] button").nth(1).click()
    assert hostile.locator("dialog h2").inner_text().startswith(HOSTILE[0])
    assert hostile.evaluate(TOO_WIDE) == []


def test_it_is_printed_whole_and_light(drawn: Callable[..., Page], short: str) -> None:
    page = drawn(short, dark=True)
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") + printed.count(b"/Type /Page ") >= 5
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("[...document.querySelectorAll('main details')].every(part => part.open)")
    assert page.locator(".controls:visible").count() == 0
    charts = page.locator("figure[data-chart]")
    assert charts.count() == page.locator("figure[data-chart]:has(svg)").count()


def test_several_banks_are_side_by_side_and_folded(open_page: Callable[..., Page]) -> None:
    page = open_page(render_page(report_content(rows=6, pictures=11, banks=2)))
    assert page.locator("#comparison tbody tr").count() == 2
    together = page.locator("#together table.board")
    assert together.locator("tbody tr").count() == 3
    assert {"Bank", "Images a second"} <= set(together.locator("th[scope=col]").all_inner_texts())
    second = page.locator("details.bank").nth(1)
    assert not second.locator("section").first.is_visible()
    page.locator("details.bank").first.locator(".Savings svg").wait_for(state="attached")
    assert second.locator(".drawing svg").count() == 0
    page.locator("#comparison").get_by_role("link", name="flowers-1").click()
    assert second.locator("section").first.is_visible()
    second.locator(".Savings .drawing svg").wait_for(state="attached")
    levels = page.evaluate("[...document.querySelectorAll('main :is(h2, h3, h4, h5)')].map(e => +e.tagName[1])")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
