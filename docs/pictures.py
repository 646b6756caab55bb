"""Makes the pictures of the README from the quickstart: `python docs/pictures.py`.

The quickstart runs in an empty directory. The leaderboard is what a terminal of 120 columns shows, as an SVG file; the
report is photographed in Chromium. Each picture is made for light and for dark pages. Seconds are this machine's.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from PIL import Image, ImageOps
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, DIMMED_MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 120
SIZE = (1280, 1080)
"""Width and height of the picture of the report, in pixels."""
COLOURS = 256
SCROLL = "section => section.scrollIntoView({behavior: 'instant'})"
THEMES = {"light": DEFAULT_TERMINAL_THEME, "dark": DIMMED_MONOKAI}


def main() -> None:
    """Makes all pictures."""
    parser = argparse.ArgumentParser(description="Make the pictures of the README from the quickstart.")
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES, help="Folder of the pictures.")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copytree(ROOT / "pipelines", place / "pipelines")
        terminal("run", "pipelines/quickstart.toml", place=place)
        shown = terminal("leaderboard", place=place)
        for mode in THEMES:
            path = folder / f"leaderboard-{mode}.svg"
            path.write_text(drawing("featurebank leaderboard", shown, mode), encoding="utf-8")
        photograph(place / "report.html", folder)


def terminal(*words: str, place: Path) -> str:
    """Returns what a command prints on a terminal of 120 columns, with its control sequences."""
    environment = {name: value for name, value in os.environ.items() if name not in {"FEATUREBANK_CACHE", "NO_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-m", "featurebank", "-q", *words], cwd=place, check=True, text=True, stdout=subprocess.PIPE,
        env={**environment, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1", "TERM": "xterm-256color"},
    )  # fmt: skip
    return done.stdout


def drawing(title: str, text: str, mode: str) -> str:
    """Returns a terminal window as SVG; it names no font of the network, and every reader has a monospaced one."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), color_system="truecolor", force_terminal=True)
    for line in lines(text):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)
    svg = console.export_svg(title=title, theme=THEMES[mode], unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace('stroke="rgba(255,255,255,0.35)"', 'stroke="#808080"')  # a frame that is seen on white, too
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip()) + "\n"


def lines(text: str) -> Sequence[Text]:
    """Returns the lines of a text as a terminal breaks them, after 120 columns, without empty ones at the ends."""
    whole = [Text.from_ansi(line.rstrip()) for line in text.rstrip().splitlines()]
    broken = [part for line in whole for part in line.divide(range(COLUMNS, len(line), COLUMNS))]
    while not broken[0].plain.strip():
        broken.pop(0)
    return broken


def photograph(report: Path, folder: Path) -> None:
    """Writes a picture of a report, from its leaderboard on, for each mode."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for mode in THEMES:
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


if __name__ == "__main__":
    main()
