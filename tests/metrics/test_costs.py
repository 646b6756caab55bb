"""Costs of decisions: the least expected cost, and every problem of a file at once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.errors import ConfigError
from featurebank.metrics import ImageScores, metric_of
from featurebank.metrics.costs import read_costs

CLASSES = ["cat", "dog", "owl"]
EQUAL = ",cat,dog,owl\ncat,0,1,1\ndog,1,0,1\nowl,1,1,0\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_true_classes_and_columns_decisions_in_any_order(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufefftrue,owl,cat,dog\n\ndog,5,4,0\ncat,2, 0,1\nowl,0,7,6\n")
    assert read_costs(path, CLASSES).tolist() == [[0, 1, 2], [4, 0, 5], [7, 6, 0]]


@pytest.mark.parametrize("text", ['"', ",cat\rdog,1", ",cat\n" + "x" * 200_000, '"cat"x,1\n'])
def test_text_that_is_no_csv(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the costs in '.*costs.csv' (cannot be read|do not fit)"):
        read_costs(write(tmp_path, text), CLASSES)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=40)
def test_no_other_decision_has_a_lower_expected_cost(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    costs, labels = random.integers(0, 9, (3, 3)).astype(float), random.integers(0, 3, count)
    probabilities = random.dirichlet(np.ones(3), count)
    lines = [["", *CLASSES], *([name, *map(str, row)] for name, row in zip(CLASSES, costs, strict=True))]
    with tempfile.TemporaryDirectory() as folder:
        metric = metric_of(f"cost:{write(Path(folder), chr(10).join(map(','.join, lines)))}", CLASSES)
    expected = [min(range(3), key=lambda d: (float(row @ costs[:, d]), d)) for row in probabilities.astype(np.float32)]
    found = metric.of(ImageScores.of(probabilities, labels))
    assert found == pytest.approx(np.mean([costs[label, d] for label, d in zip(labels, expected, strict=True)]))


def test_equal_costs_of_all_mistakes_are_the_error_rate(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = ImageScores.of(random.dirichlet(np.ones(3), 90), random.integers(0, 3, 90))
    metric = metric_of(f"cost:{write(tmp_path, EQUAL)}", CLASSES)
    assert metric.of(images) == pytest.approx(1 - images.right.mean())
    assert not metric.larger_is_better


def test_another_file_with_the_same_costs_has_the_same_key(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first, second = (metric_of(f"cost:{write(place, EQUAL)}", CLASSES) for place in (tmp_path, tmp_path / "b"))
    other = metric_of(f"cost:{write(tmp_path, EQUAL.replace('owl,1', 'owl,2'))}", CLASSES)
    assert first.key == second.key != other.key


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["0 lines"]),
        (",cat,dog\ncat,0,1\ndog,1,0\n", ["no column for 'owl'", "no row for 'owl'"]),
        (",cat,dog,owl\ncat,0,1,1\ndog,1,0,1\n", ["no square: 2 rows of up to 3 costs", "no row for 'owl'"]),
        (
            ",cat,dog,cow\ncat,0,1,x\ndog,1,0,nan\nowl,1,1\n",
            ["no square", "no column for 'owl'", "a column for 'cow'", "'x' in the row of 'cat', 'nan' in the row"],
        ),
        (",cat,dog,owl,owl\ncat,0,1,1,1\ndog,1,0,1,1\nowl,1,1,0,0\nowl,1,1,0,0", ["more than one column for 'owl'"]),
    ],
)
def test_all_problems_of_a_file_are_one_line(tmp_path: Path, text: str, problems: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_costs(write(tmp_path, text), CLASSES)
    assert "\n" not in str(caught.value)
    assert [problem for problem in problems if problem not in str(caught.value)] == []


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.csv' cannot be read \(No such file"):
        metric_of(f"cost:{tmp_path}/nothing.csv", CLASSES)
