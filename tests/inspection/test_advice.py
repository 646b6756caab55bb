"""What is said to be wrong, and that nothing is said where nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featurebank import inspect_dataset, load_dataset
from featurebank.bank import Bank
from featurebank.dataset import Skipped
from featurebank.inspection.advice import advise
from featurebank.inspection.near_duplicates import NearDuplicates
from featurebank.inspection.stage import Inspection
from featurebank.inspection.survey import DuplicateList


@pytest.fixture(scope="module")
def good() -> Inspection:
    return inspect_dataset(load_dataset("digits"), sample=0)


def test_nothing_is_wrong_with_the_digits(good: Inspection) -> None:
    assert advise(good) == []


def counts(a: int, b: int) -> dict[str, dict[str, int]]:
    return {"train": {"a": a, "b": b}, "val": {"a": 0, "b": 0}, "test": {"a": 0, "b": 0}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"unreadable": (Skipped("x", "why"),)}, "1 image cannot be read: extraction skips it"),
        ({"unreadable": (Skipped("x", "why"),) * 2}, "2 images cannot be read: extraction skips them"),
        ({"duplicates": DuplicateList((), 3, 6, 1, 0)}, "1 image occurs in more than one split"),
        ({"duplicates": DuplicateList((), 3, 6, 0, 2)}, "2 images occur in more than one class"),
        ({"duplicates": DuplicateList((), 3, 6, 0, 0)}, "3 images occur more than once"),
        ({"near_duplicates": NearDuplicates("b", "pooled", 0.98, 9, 7, ())}, "7 pairs of images in different splits"),
        ({"classes": ("a", "b"), "counts": counts(2, 22)}, "'b' has 11 times as many images as 'a' (22 to 2)"),
        ({"warnings": ("something",)}, "something"),
    ],
)
def test_each_problem_has_a_line_of_its_own(good: Inspection, changes: dict[str, Any], expected: str) -> None:
    (line,) = advise(replace(good, **changes))
    assert expected in line


@pytest.mark.parametrize(("a", "b"), [(2, 20), (0, 50)])
def test_little_imbalance_and_empty_classes_are_not_told_as_imbalance(good: Inspection, a: int, b: int) -> None:
    assert advise(replace(good, classes=("a", "b"), counts=counts(a, b))) == []


def test_all_at_once(leaky: Path, leaky_bank: Bank) -> None:
    found = inspect_dataset(load_dataset(str(leaky), split=(0.8, 0.2)), bank=leaky_bank, near=0.99999)
    lines = "\n".join(advise(found))
    for words in ("1 image cannot be read", "more than one class", "more than one split", "1 pair of images"):
        assert words in lines
