"""The keys of files, from the classes that hold them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.extensions.field_pages import fields_text

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"
SHOWN = re.compile(r"^```\{fields\} (\S+)$", re.MULTILINE)
PLACES = [place for page in REFERENCE.glob("*.md") for place in SHOWN.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("place", PLACES)
def test_each_key_has_a_meaning(place: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in fields_text(place).splitlines()[2:]]
    assert [row[0] for row in rows if len(row) < 3 or not row[2]] == []
    assert not re.search(r"~|featurebank\.\w+\.", "".join(row[1] for row in rows))


def test_pages_show_the_classes_of_files() -> None:
    assert {"runs.run:RunRecord", "grafting.metadata:About"} <= set(PLACES)
