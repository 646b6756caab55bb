"""How long does `featurebank report` take beside the grid that it describes, and how soon is the page open?

A bank of photos through EfficientNet-Lite0 (ImageNet weights) gets the grid `wide`, about 300 runs. Each turn is a
process of its own. The page is opened from disk in headless Chromium, with an empty profile: "open" lasts from the
request until the leaderboard has its rows and the browser has painted the page.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness import Contest, conditions, report
from benchmarks.pictures import photo_folder

PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"


def run(rounds: int, *, quick: bool, output: Path, photos: Path | None = None) -> None:
    """Times the grid once, and the report and the opening of its page in each round."""
    with tempfile.TemporaryDirectory() as place:
        folder = photo_folder(Path(place) / "photos", 60 if quick else 500, photos)
        page = Path(place) / "report.html"
        made = Contest("a report of all runs", 1, "reports", "featurebank heads --grid")
        opened = Contest("the page in Chromium", 1, "pages", "from the request to the painted leaderboard")
        start = partial(_featurebank, Path(place) / "cache")
        start("extract", str(folder), "--backbone", "efficientnet_lite0")
        made.time("featurebank heads --grid", partial(start, "heads", "--grid", "quick" if quick else "wide"))
        for _ in range(rounds):
            made.time("featurebank report", partial(start, "report", "-o", str(page), "--force"))
        about = _open(page, opened, rounds)
        made.notes["featurebank report"] = f"{page.stat().st_size / 1e6:.2f} MB, {about} rows in the leaderboard"
    report([made, opened], conditions(), output, {"rounds": rounds})


def _featurebank(cache: Path, *arguments: str) -> None:
    environment = {**os.environ, "FEATUREBANK_CACHE": str(cache), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "featurebank", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def _open(page: Path, opened: Contest, rounds: int) -> int:
    """Opens the page in a new context of the browser each time; returns the number of rows of its leaderboard."""
    from playwright.sync_api import sync_playwright

    rows = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
        )
        for _ in range(rounds):
            tab = browser.new_context().new_page()

            def show(tab: Any = tab) -> None:
                tab.goto(page.as_uri())
                tab.wait_for_selector("table.board tbody tr")
                tab.evaluate(PAINTED)

            opened.time("from the request to the painted leaderboard", show)
            rows = tab.locator("table.board tbody tr").count()
            tab.close()
        browser.close()
    return rows
