"""The notebook docs/tutorials/tour.ipynb runs from its first to its last cell, and is stored without results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kernels import kernel

pytestmark = pytest.mark.heavy

TOUR = Path(__file__).resolve().parents[1] / "docs" / "tutorials" / "tour.ipynb"


def cells() -> list[dict[str, object]]:
    return [cell for cell in json.loads(TOUR.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_it_is_stored_without_results() -> None:
    assert [(cell["outputs"], cell["execution_count"]) for cell in cells()] == [([], None)] * len(cells())


def test_the_whole_way(tmp_path: Path) -> None:
    """Each cell prints nothing but what it means to print: no warning, and no noise of any library."""
    with kernel(tmp_path) as process:
        printed = [process.run("".join(cell["source"])) for cell in cells()]  # type: ignore[arg-type]
    assert printed[:-1] == [""] * (len(printed) - 1)
    assert "circle: circle" in printed[-1]
    for words in ("120 images", "logistic(C=1)", "validation accuracy", "Confusion matrix", "images of each class"):
        assert words in process.pages
    for words in ("Similar images", "2 images explained by"):
        assert words in process.pages
    assert process.pages.count("https://vega.github.io/schema/vega-lite/") == 3
    assert (tmp_path / "shapes.html").is_file()
    assert (tmp_path / "shapes.keras").is_file()
