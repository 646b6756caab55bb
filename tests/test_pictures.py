"""The pictures of the README: they show what featurebank prints now, and a script makes them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from PIL import Image

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.cli import group

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
NAMES = {name for mode in ("light", "dark") for name in (f"leaderboard-{mode}.svg", f"report-{mode}.png")}


def test_the_readme_shows_each_picture() -> None:
    assert {path.name for path in PICTURES.iterdir()} == NAMES
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:src|srcset)=\"docs/pictures/([^\"]+)\"", text)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_pictures_are_small_and_ask_for_nothing(name: str) -> None:
    data = (PICTURES / name).read_bytes()
    assert len(data) < 250_000
    if name.endswith(".svg"):
        assert not re.search(rb"url\([\"']?http|href=|<script|@import", data)
    else:
        with Image.open(PICTURES / name) as picture:
            assert picture.size[0] == 1282  # with its frame


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_picture_has_the_columns_of_the_leaderboard(mode: str, make_bank: Callable[..., Bank]) -> None:
    texts = ElementTree.parse(PICTURES / f"leaderboard-{mode}.svg").iter("{http://www.w3.org/2000/svg}text")
    lines: dict[str, str] = {}
    for text in texts:
        if "clip-path" in text.attrib:  # the title of the window has none
            lines[text.attrib["y"]] = lines.get(text.attrib["y"], "") + "  " + (text.text or "")
    header, *rest = (line.replace("\N{NO-BREAK SPACE}", " ").split() for line in lines.values())
    assert ["selected", "by", "validation:"] in [line[:3] for line in rest]

    bank = make_bank(taps=("block6d_add:avg",))  # the widest tap of the picture
    train_heads(bank, [{"kind": "nearest_mean", "name": "a name that fills the column of heads"}])
    printed = CliRunner().invoke(group, ["leaderboard", "--bank", str(bank.path)], env={"COLUMNS": "120"}).stdout
    assert header == next(line for line in printed.splitlines() if line.strip()).split()


@pytest.mark.slow
def test_the_script_makes_the_pictures(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "pictures.py", tmp_path], check=True, capture_output=True)
    assert {path.name for path in tmp_path.iterdir()} == NAMES
