"""The tutorial on clusters: its workers are real, one of them is killed, and the bank is that of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from tutorial_cells import run_cells

from docs.tutorials.notebooks import code_cells, read, source

pytestmark = pytest.mark.slow

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "on_a_cluster.ipynb"


@pytest.mark.filterwarnings("default")  # a user's kernel shows warnings of Dask, and goes on
def test_the_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEATUREBANK_CACHE", raising=False)
    codes = [source(cell) for cell in code_cells(read(TUTORIAL))]
    small = {"images": 400, "image_size": 64, "grid": ["nearest_mean", "ridge"]}
    names = run_cells(codes, small, 0, lambda words: "")
    printed = capsys.readouterr().out
    assert names["replaced"] == [0]
    assert "the same images:   True" in printed
    assert "the same features: True" in printed
    assert sum(event["computed"] for event in names["again"].manifest.history) == len(names["bank"]) == 400
