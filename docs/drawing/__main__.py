"""Makes all pictures: `python -m docs.drawing [FOLDER] [--only-diagrams]`.

The quickstart runs in an empty directory; what it prints and its report are pictures.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from .canvas import PALETTES
from .diagrams import DRAWINGS
from .screenshots import photograph
from .terminal import session, window

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
NARROW, WIDE = 96, 120
"""Columns of the terminals: of the quickstart, and of the leaderboard with all of its columns."""


def main() -> None:
    """Makes the pictures."""
    parser = argparse.ArgumentParser(prog="python -m docs.drawing", description="Make the pictures of the manual.")
    parser.add_argument("folder", nargs="?", type=Path, default=PICTURES, help="Folder of the pictures.")
    parser.add_argument("--only-diagrams", action="store_true", help="Make only the drawings, which takes no second.")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    draw_all(folder)
    if not arguments.only_diagrams:
        with tempfile.TemporaryDirectory() as name:
            record_all(Path(name), folder)


def draw_all(folder: Path) -> None:
    """Writes the drawings."""
    for name, draw in DRAWINGS.items():
        for mode, palette in PALETTES.items():
            (folder / f"{name}-{mode}.svg").write_text(draw(palette).svg(), encoding="utf-8")


def record_all(place: Path, folder: Path) -> None:
    """Runs the quickstart in a directory, and writes the pictures of its terminal and its report."""
    shutil.copytree(ROOT / "pipelines", place / "pipelines")
    texts = {
        "quickstart": (session(("run", "pipelines/quickstart.toml"), place=place, columns=NARROW), NARROW),
        "leaderboard": (session(("leaderboard",), place=place, columns=WIDE), WIDE),
    }
    for name, (text, columns) in texts.items():
        for mode in PALETTES:
            picture = window("featurebank", text, mode, columns)
            (folder / f"{name}-{mode}.svg").write_text(picture, encoding="utf-8")
    photograph(place / "report.html", folder)


if __name__ == "__main__":
    main()
