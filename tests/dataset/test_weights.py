"""The weights of images: the column of a table, its problems, and what becomes of it in parts of a dataset."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset import Dataset
from featurebank.dataset.weights import describe_weights
from featurebank.errors import DatasetError

NAMES = "abcdef"


@pytest.fixture
def load(tmp_path: Path, make: SimpleNamespace) -> Any:
    """Loads a table of six images with these weights."""

    def loaded(weights: list[str], *, header: str = "weight", **options: Any) -> Dataset:
        for number, name in enumerate(NAMES):
            make.save(tmp_path / f"{name}.png", number)
        rows = [f"{name}.png,{'xy'[n % 2]},{'train' if n < 4 else 'val'},{weights[n]}" for n, name in enumerate(NAMES)]
        (tmp_path / "t.csv").write_text("\n".join([f"path,label,split,{header}", *rows]))
        return load_dataset(str(tmp_path / "t.csv"), **options)

    return loaded


@pytest.mark.parametrize(
    ("header", "options"), [("weight", {}), ("sample_weight", {}), ("w", {"columns": {"weight": "w"}})]
)
def test_a_column_has_the_weights(header: str, options: dict[str, Any], load: Any) -> None:
    dataset = load(["1", ".5", "0", "4", "1e1", "2"], header=header, **options)
    assert dataset.weights.tolist() == [1, 0.5, 0, 4, 10, 2]
    assert "weight" not in dataset.metadata
    line = f"training images are weighted by the column '{header}', from 0.5 to 4; 1 image of weight 0 is left out"
    assert line in dataset.warnings()


def test_the_weights_follow_the_images(load: Any) -> None:
    weights = ["1", "2", "3", "4", "5", "6"]
    part = load(weights, per_class=2)
    assert part.weights.tolist() == [1 + NAMES.index(name[0]) for name in part.ids]
    assert load(["1"] * 6, header="mass").weights is None


def test_all_wrong_weights_are_reported_with_their_lines(load: Any) -> None:
    with pytest.raises(DatasetError) as caught:
        load(["1", "-1", "", "heavy", "inf", "nan"])
    assert str(caught.value).endswith(
        "line 3: the weight (column 'weight') is '-1', expected a number of 0 or more: correct them, or rename the "
        "column if it holds something else; "
        "line 4: the weight (column 'weight') is empty, expected a number of 0 or more; "
        "line 5: the weight (column 'weight') is 'heavy', expected a number of 0 or more; "
        "line 6: the weight (column 'weight') is 'inf', expected a number of 0 or more; "
        "line 7: the weight (column 'weight') is empty, expected a number of 0 or more"
    )
    with pytest.raises(DatasetError, match="all weights in the column 'weight' are 0"):
        load(["0"] * 6)


def test_an_image_has_one_weight(tmp_path: Path, make: SimpleNamespace) -> None:
    make.save(tmp_path / "a.png", 0)
    (tmp_path / "t.csv").write_text("path,label,weight\na.png,x,1\na.png,x,2\n")
    with pytest.raises(DatasetError, match="already listed in line 2, there with the weight 1, here with 2"):
        load_dataset(str(tmp_path / "t.csv"))


def test_columns_of_numbers(tmp_path: Path, make: SimpleNamespace) -> None:
    pandas = pytest.importorskip("pandas")
    for number in range(2):
        make.save(tmp_path / f"{number}.png", number)
    paths = [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    table = pandas.DataFrame({"path": paths, "label": ["x", "y"], "weight": [2, 0.5]})
    assert load_dataset(table).weights.tolist() == [2, 0.5]
    pytest.importorskip("pyarrow")
    table.to_parquet(tmp_path / "t.parquet")
    assert load_dataset(str(tmp_path / "t.parquet")).weights.tolist() == [2, 0.5]


@pytest.mark.parametrize(
    ("weights", "line"),
    [
        ([2.0, 2.0], "training images are weighted by the column 'w', each by 2"),
        ([0.0, 0.0], "all training images have the weight 0 in the column 'w'"),
        (
            [0.0, 0.0, 1.0],
            "training images are weighted by the column 'w', each by 1; 2 images of weight 0 are left out",
        ),
    ],
)
def test_the_line_about_weights(weights: list[float], line: str) -> None:
    assert describe_weights(np.array(weights), "w") == line
