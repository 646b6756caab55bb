"""Columns that look like groups are named, and others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurebank.dataset.core import Contents, Dataset
from featurebank.dataset.grouping.rule import GroupRule, with_groups
from featurebank.dataset.sources.paths import Paths
from featurebank.inspection.group_columns import advice_on, group_columns

COUNT = 1200


def made(
    columns: dict[str, Any], *, seed: int = 0, groups: str | None = None, labels: np.ndarray | None = None
) -> Dataset:
    ids = tuple(f"{number}.png" for number in range(COUNT))
    labels = np.random.default_rng(seed).integers(0, 3, COUNT).astype(np.int32) if labels is None else labels
    contents = Contents(
        "made", "manifest:made.csv", ("a", "b", "c"), ids, labels, Paths("/", ids),
        metadata={name: np.asarray(column) for name, column in columns.items()},
    )  # fmt: skip
    if groups:
        contents = with_groups(contents, GroupRule.parse(groups))
    dataset = Dataset(contents, (0.7, 0.15, 0.15), seed)
    dataset.know_digests(np.array([f"{number * 7919 % 104729:032x}" for number in range(COUNT)], "S32"))
    return dataset


def found(dataset: Dataset) -> list[str]:
    return [column.name for column in group_columns(dataset, np.ones(COUNT, bool))]


def ordinary(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns of many tables that are no groups."""
    days = np.datetime64("2021-01-01") + random.integers(0, 200, COUNT)
    return {
        "age": random.integers(1, 95, COUNT),
        "AgeYears": random.normal(50, 20, COUNT).round(),
        "sex": random.choice(["f", "m"], COUNT),
        "date": days.astype(str),
        "taken": np.char.add(days.astype(str), " 12:30:00"),
        "day": np.char.replace(days.astype(str), "-", "/"),
        "model": random.choice(["Canon EOS 5D", "NIKON D90", "iPhone 12", "Pixel 6"], COUNT),
        "price": random.lognormal(3, 1, COUNT).round(2),
        "price_in_cents": random.integers(1, 200, COUNT) * 100 - 1,
        "file_size": random.integers(10_000, 900_000, COUNT),
        "width": random.choice([640, 800, 1024], COUNT),
        "iso": random.choice([100, 200, 400, 800, 1600], COUNT),
        "year": random.integers(1950, 2024, COUNT),
        "number": random.integers(0, 300, COUNT),
        "rank": random.integers(0, 100, COUNT),
        "flag": random.random(COUNT) < 0.5,
        "uuid": np.array([f"{value:x}" for value in random.integers(0, 2**60, COUNT)]),
        "image_id": np.arange(COUNT),
        "colour": random.choice(["red", "green", "blue", "brown", "black", "white", "grey", "pink"], COUNT),
        "score": random.random(COUNT),
        "latitude": random.normal(48, 1, COUNT).round(1),
        "camera": random.choice(["Canon EOS 5D", "NIKON D90", "iPhone 12", "Pixel 6"], COUNT),
        "site": random.choice(["Basel", "Bern", "Zug"], COUNT),
        "eye": random.choice(["left", "right"], COUNT),
        "group": random.choice(["treated", "control"], COUNT),
        "patient_age": random.integers(1, 95, COUNT),
        "remark": random.choice(["", "", "", "blurred", "good"], COUNT),
        "fold": random.integers(0, 5, COUNT),
    }


@pytest.mark.parametrize("seed", range(20))
def test_ordinary_columns_are_no_groups(seed: int) -> None:
    assert found(made(ordinary(np.random.default_rng(seed)), seed=seed)) == []


@pytest.mark.parametrize("each", [3, 10, 40])
def test_groups_are_found_by_name_by_codes_and_by_labels(each: int) -> None:
    random = np.random.default_rng(each)
    own = random.permutation(np.arange(COUNT) // each)
    labels = random.integers(0, 3, own.max() + 1)[own].astype(np.int32)
    columns = {
        "patient": own, "SubjectID": own.astype(float), "code": np.array([f"P{value:03d}" for value in own]),
        "dog": np.array(["Rex", "Bello", "Waldi"])[own % 3] + np.char.add(" of ", own.astype(str)), "who": own + 7000,
        "camera trap": own, "Patient Number": own,
    }  # fmt: skip
    dataset = made({**ordinary(random), **columns}, labels=labels)
    assert found(dataset) == list(columns)
    (line, *_) = advice_on(group_columns(dataset, np.ones(COUNT, bool)))
    assert f"column 'patient' looks like a group: it has {COUNT // each} values (images of a value: {each}.0 on" in line
    assert line.endswith("--groups 'patient' keeps each on one side")


def test_few_patients_are_found_by_their_name() -> None:
    own = np.arange(COUNT) % 6
    assert found(made({"patient": own, "device": own})) == ["patient"]


def test_groups_that_are_on_one_side_are_fine() -> None:
    own = np.random.default_rng(0).integers(0, 150, COUNT)
    assert found(made({"patient": own}, groups="patient")) == []
    assert found(made({"patient": own})) == ["patient"]
