"""CSV files: what is written is read again, and no cell is a formula."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.system.csv_files import csv_cell, write_csv


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_values_come_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["name", "x", "y"], [["ünï, 图\n", -0.5, None], ["b", [1, 2], {"b": 1, "a": 2}]])
    assert read(tmp_path / "a.csv") == [
        ["name", "x", "y"],
        ["ünï, 图\n", "-0.5", ""],
        ["b", "[1, 2]", '{"a": 2, "b": 1}'],
    ]


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "+x"])
def test_formulas_are_quoted(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-1", "+1.5", "-1e-3", "a=1", "", "'=1", "10 %"])
def test_all_else_stays(text: str) -> None:
    assert csv_cell(text) == text


@given(st.text())
@settings(max_examples=200)
def test_no_cell_begins_a_formula(text: str) -> None:
    cell = csv_cell(text)
    assert cell.lstrip("'") == text.lstrip("'")
    if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        float(cell)
