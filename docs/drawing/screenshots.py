"""Photographs pages in Chromium, in light and dark."""

from __future__ import annotations

import shutil
from pathlib import Path

from PIL import Image, ImageOps

SIZE = (1280, 1080)
"""Width and height of a picture of the report, in pixels."""
COLOURS = 256
SCROLL = "section => section.scrollIntoView({behavior: 'instant'})"


def photograph(report: Path, folder: Path) -> None:
    """Writes a picture of a report, from its leaderboard on, for each mode."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for mode in ("light", "dark"):
            page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=mode)
            page.goto(report.as_uri())
            board = page.locator("section.Board")
            board.evaluate(SCROLL)
            board.locator(".drawing svg").first.wait_for()
            board.evaluate(SCROLL)  # pictures and charts above it have taken their places
            page.wait_for_timeout(500)
            path = folder / f"report-{mode}.png"
            page.screenshot(path=path, animations="disabled")
            with Image.open(path) as picture:
                framed = ImageOps.expand(picture.convert("RGB"), 1, "#808080")
            few = framed.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
            few.save(path, optimize=True)
        browser.close()
