"""Pages of the files beside `docs/`: a link to one works on GitHub, and on the site it leads to a page that shows it.

A link to a folder leads to a page that lists its files. Open `setup` first.
"""

from __future__ import annotations

import html
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "files"
"""The folder of the site with the pages of files."""
PAGES = {"CONTRIBUTING.md": "develop/contributing", "CHANGELOG.md": "develop/changelog"}
"""Files that a page of the site includes."""
_KEY = "repository"


class RepositoryLinks(SphinxTransform):
    """Replaces links to files and folders outside `docs/` by links to their pages."""

    default_priority = 1  # before downloads are collected

    def apply(self, **options: Any) -> None:
        """Replaces the links of one document."""
        linked = []
        here = Path(self.env.doc2path(self.env.docname)).parent
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                path = _outside(here, str(node.get("reftarget", "")))
                if path is None:
                    continue
                linked.append(path)
                page = PAGES.get(path, f"{FOLDER}/{path}")
                target = posixpath.relpath(page, posixpath.dirname(self.env.docname) or ".")
                link = nodes.reference("", "", *node.children, refuri=f"{target}.html", internal=True)
                node.replace_self(link)
        self.env.metadata[self.env.docname][_KEY] = "\n".join(linked)


def _outside(here: Path, target: str) -> str | None:
    """Returns the path, from the root, of what a link leads to; None if that is no file or folder beside `docs/`."""
    if not target or "://" in target or target.startswith("/"):
        return None
    path = (here / target.partition("#")[0]).resolve()
    if not path.exists() or not path.is_relative_to(ROOT) or path == ROOT or path.is_relative_to(ROOT / "docs"):
        return None
    return path.relative_to(ROOT).as_posix()


def file_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields the page of each file and folder that a page of the site links to, and of the files in these folders."""
    for path in sorted(_linked(app.env)):
        title = html.escape(path)
        body = f"<h1><code>{title}</code></h1>\n{_listed(path) if (ROOT / path).is_dir() else _shown(path)}"
        yield f"{FOLDER}/{path}", {"title": title, "body": body}, "page.html"


def _linked(env: BuildEnvironment) -> set[str]:
    lines = {line for one in env.metadata.values() for line in str(one.get(_KEY, "")).splitlines()} - set(PAGES)
    return lines | {child for line in lines if (ROOT / line).is_dir() for child in _below(line)}


def _below(path: str) -> list[str]:
    """Returns all files and folders below a folder."""
    below = sorted((ROOT / path).rglob("*"))
    return [one.relative_to(ROOT).as_posix() for one in below if not any(p[0] in "._" for p in one.parts[-2:])]


def _listed(path: str) -> str:
    children = [child for child in _below(path) if posixpath.dirname(child) == path]
    name = posixpath.basename(path)
    items = (
        f'<li><a href="{html.escape(name)}/{html.escape(posixpath.basename(child))}.html">'
        f"<code>{html.escape(posixpath.basename(child))}</code></a></li>"
        for child in children
    )
    return f"<ul>{''.join(items)}</ul>"


def _shown(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        lexer = TextLexer()
    return str(highlight(text, lexer, HtmlFormatter(cssclass="highlight", wrapcode=True)))


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the transform and the pages."""
    app.add_transform(RepositoryLinks)
    app.connect("html-collect-pages", file_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
