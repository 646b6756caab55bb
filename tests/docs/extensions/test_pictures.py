"""A picture with a source for dark pages becomes two images, of which the theme shows one."""

from __future__ import annotations

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from docs.extensions.pictures import LightAndDark

PICTURE = """<picture>
  <source media="(prefers-color-scheme: dark)" srcset="../pictures/bank-dark.svg">
  <img alt="A bank &amp; its shards" src="../pictures/bank-light.svg">
</picture>"""


def images(html: str) -> list[tuple[str, str, list[str]]]:
    document = new_document("page", get_default_settings(Parser()))
    document += nodes.raw("", html, format="html")
    LightAndDark(document).apply()
    return [(image["uri"], image["alt"], image["classes"]) for image in document.findall(nodes.image)]


def test_both_versions_are_images_with_the_alternative_text() -> None:
    assert images(PICTURE) == [
        ("../pictures/bank-light.svg", "A bank & its shards", ["only-light"]),
        ("../pictures/bank-dark.svg", "A bank & its shards", ["only-dark"]),
    ]


def test_other_html_stays() -> None:
    assert images("<b>bold</b>") == []
