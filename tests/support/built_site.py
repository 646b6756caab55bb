"""The site of the documentation, built once for all processes of a test session, where no network can be reached."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
NO_NETWORK = """
import socket
def connect(self, address):
    raise OSError(f"the site asks for {address}")
socket.socket.connect = socket.socket.connect_ex = connect
"""
TARGET = re.compile(r'<(a|link|img|script|source|iframe)\b[^>]*?\s(?:href|src|srcset)="([^"]*)"')
ANCHOR = re.compile(r'\b(?:id|name)="([^"]*)"')


@dataclass(frozen=True)
class Link:
    """A link of a page of the site."""

    page: Path
    tag: str
    target: str


@dataclass(frozen=True)
class Site:
    """The built site."""

    folder: Path
    code: int
    """The exit code of the build."""
    said: str
    """What the build wrote."""

    @cached_property
    def pages(self) -> dict[Path, str]:
        """The text of each page."""
        return {
            path: path.read_text(encoding="utf-8")
            for path in sorted(self.folder.rglob("*.html"))
            if "_static" not in path.parts
        }

    @cached_property
    def anchors(self) -> dict[Path, set[str]]:
        """What links within each page can lead to."""
        return {path: set(map(unescape, ANCHOR.findall(text))) for path, text in self.pages.items()}

    def links(self, page: Path) -> list[Link]:
        """Returns the links of a page."""
        return [Link(page, tag, unescape(target)) for tag, target in TARGET.findall(self.pages[page])]

    def leads_nowhere(self, link: Link) -> bool:
        """Returns whether a link is to a page, a file or a place that the site does not have."""
        path, _, anchor = link.target.partition("#")
        target = (link.page.parent / unquote(path.partition("?")[0])).resolve() if path else link.page
        if not target.is_file():
            return True
        return bool(anchor) and target in self.anchors and unquote(anchor) not in self.anchors[target]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Builds the site strictly; the first process of the session does it, and the others wait."""
    own = tmp_path_factory.getbasetemp()
    place = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "site"
    place.mkdir(exist_ok=True)
    folder, result = place / "html", place / "result.json"
    with FileLock(place / "lock"):
        if not result.exists():
            (place / "sitecustomize.py").write_text(NO_NETWORK)
            done = subprocess.run(
                [sys.executable, "-m", "docs", "--strict", "--no-open", str(folder)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            result.write_text(json.dumps([done.returncode, done.stderr]))
    return Site(folder.resolve(), *json.loads(result.read_text()))
