"""The site builds without a warning and without a network, its links lead somewhere, and everybody can use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from built_site import Site

from docs.__main__ import main

pytestmark = pytest.mark.heavy

ELSEWHERE = re.compile(r"([a-z][a-z0-9+.-]*:|//)")
DOCS = Path(__file__).resolve().parents[2] / "docs"
TUTORIAL = min((DOCS / "tutorials").glob("*.ipynb")).relative_to(DOCS).with_suffix(".html").as_posix()
FIVE = ("index.html", "how-to/csv.html", "guide/heads.html", "reference/commands.html", TUTORIAL)
"""A page of each kind."""


def test_the_site_builds_without_a_warning(site: Site) -> None:
    assert site.code == 0, site.said
    assert site.said == ""
    assert len(site.pages) > 40


def test_every_link_of_the_site_leads_somewhere(site: Site) -> None:
    links = [link for page in site.pages for link in site.links(page) if not ELSEWHERE.match(link.target)]
    assert len(links) > 1000
    wrong = {f"{link.page.relative_to(site.folder)}: {link.target}" for link in links if site.leads_nowhere(link)}
    assert wrong == set()


def test_the_site_loads_nothing_from_a_network(site: Site) -> None:
    loaded = [link for page in site.pages for link in site.links(page) if link.tag not in {"a", "iframe"}]
    assert {link.target for link in loaded if ELSEWHERE.match(link.target) and "data:" not in link.target} == set()
    styles = [path.read_text(encoding="utf-8") for path in site.folder.rglob("*.css")]
    assert not [url for text in styles for url in re.findall(r"url\([\"']?((?:https?:)?//[^)]+)\)", text)]


def test_every_page_is_in_a_table_of_contents(site: Site) -> None:
    """Sphinx warns of a page that is in none, unless the page says that it wants that."""
    sources = DOCS.rglob("*.md")
    assert [path.name for path in sources if re.search(r"^orphan: true", path.read_text("utf-8"), re.M)] == ["404.md"]


def test_the_start_page_leads_to_short_answers_of_ten_questions(site: Site) -> None:
    answers = re.split(r"^## ", (DOCS / "start" / "questions.md").read_text("utf-8"), flags=re.M)[1:]
    assert len(answers) == 10
    assert max(len(answer.splitlines()) for answer in answers) <= 40  # a screen
    page = site.folder / "start" / "questions.html"
    anchors = {
        link.target.partition("#")[2]
        for link in site.links(site.folder / "index.html")
        if "questions.html#" in link.target
    }
    assert len(anchors & site.anchors[page]) == 10


@pytest.mark.parametrize("name", FIVE)
def test_everybody_can_use_a_page(name: str, site: Site, open_page: Callable[..., Any]) -> None:
    """No serious barrier in light and dark, and nothing to scroll sideways on a phone and on a desktop."""
    page = open_page(site.folder / name)
    page.add_style_tag(content="* { transition: none !important; }")  # or it measures colours on their way
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"document.documentElement.dataset.theme === '{scheme}'")
        found = Axe().run(page, options={"preload": False}).response["violations"]  # styles are loaded already
        serious = [one for one in found if one["impact"] in {"serious", "critical"}]
        assert {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in serious} == {}
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_copy_button_takes_what_a_reader_types(site: Site, open_page: Callable[..., Any]) -> None:
    page = open_page(site.folder / "index.html")
    session = "$ ls photos\ndaisy\n$ featurebank extract photos \\\n    --backbone resnet50\nbank: ...\n"
    assert page.evaluate("text => typed(text)", session) == (
        "ls photos\nfeaturebank extract photos \\\n    --backbone resnet50"
    )
    examples = ">>> for x in 1, 2:\n...     print(x)\n1\n2\n>>> y = 3\n"
    assert page.evaluate("text => typed(text)", examples) == "for x in 1, 2:\n    print(x)\ny = 3"
    assert page.evaluate("text => typed(text)", "a = 1\n\nb = 2\n") == "a = 1\n\nb = 2"


def test_without_sphinx_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--no-open"]) == 1
    assert capsys.readouterr().err == (
        "Error: Sphinx is not installed: pip install '.[docs]' installs what the site needs\n"
    )
