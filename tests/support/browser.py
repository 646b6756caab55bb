"""A headless Chromium for the whole session, and pages that may do nothing but show themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
OWN = ("file:", "data:", "blob:", "about:")
"""How the addresses begin that a self-contained page may ask for."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Starts Chromium once, which takes a second; a test uses `open_page`."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium, which the gate installs")
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
    yield started
    with _driving(started):
        started.close()
        playwright.stop()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page: `open_page(path_or_html, width=1280, height=900, dark=False)` returns Playwright's `Page`.

    At the end of the test, it fails if a page wrote an error to the console, raised one, or asked for an address
    outside its file.
    """
    problems: list[str] = []
    contexts = []

    def open_one(source: Path | str, width: int = 1280, height: int = 900, *, dark: bool = False) -> Page:
        path = source if isinstance(source, Path) else tmp_path / f"page{len(contexts)}.html"
        if isinstance(source, str):
            path.write_text(source, encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: problems.append(f"{m.type}: {m.text}") if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(f"raised: {error}"))
        page.on("request", lambda r: None if r.url.startswith(OWN) else problems.append(f"asked for {r.url}"))
        page.goto(path.resolve().as_uri())
        return page

    with _driving(browser):
        yield open_one
        for context in contexts:
            context.close()
    assert problems == []


@contextlib.contextmanager
def _driving(browser: Browser) -> Iterator[None]:
    """Makes Playwright's event loop the running one for a while only, because other tests start loops of their own."""
    asyncio._set_running_loop(browser._loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)
