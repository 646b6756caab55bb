"""Pictures for light and for dark pages: `<picture>`, as GitHub wants it, becomes two images; the theme shows one."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

_PICTURE = re.compile(r"<picture>.*?</picture>", re.DOTALL)
_ATTRIBUTE = re.compile(r'\b(srcset|src|alt)="([^"]*)"')


class LightAndDark(SphinxTransform):
    """Replaces each `<picture>` that has a source for dark pages."""

    default_priority = 1  # before images are collected

    def apply(self, **options: Any) -> None:
        """Replaces the pictures of one document."""
        for raw in list(self.document.findall(nodes.raw)):
            if raw.get("format") == "html" and _PICTURE.search(raw.astext()):
                raw.parent.replace(raw, [image for text in _PICTURE.findall(raw.astext()) for image in _images(text)])


def _images(picture: str) -> list[nodes.Node]:
    """Returns the images for light and for dark pages."""
    values = {name: unescape(value) for name, value in _ATTRIBUTE.findall(picture)}
    dark, light = values.get("srcset", values["src"]), values["src"]
    return [
        nodes.image("", uri=light, alt=values.get("alt", ""), classes=["only-light"]),
        nodes.image("", uri=dark, alt=values.get("alt", ""), classes=["only-dark"]),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the transform."""
    app.add_transform(LightAndDark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
