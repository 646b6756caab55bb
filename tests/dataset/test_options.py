"""The options of a dataset, checked where they are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset import DatasetOptions
from featurebank.errors import ConfigError, DatasetError


@pytest.mark.parametrize("seed", [1.5, "1", None, True])
def test_wrong_seeds(seed: object) -> None:
    with pytest.raises(ConfigError, match=r"seed is .*: expected a whole number"):
        DatasetOptions(seed=seed)  # type: ignore[arg-type]


def test_values_of_numpy_and_paths_are_taken(tmp_path: Path) -> None:
    whole = load_dataset("digits", seed=np.int64(7), limit=np.int32(50), split=np.array([0.5, 0.5]))  # type: ignore[arg-type]
    assert (whole.seed, len(whole), whole.fractions) == (7, 50, (0.5, 0.5, 0.0))
    with pytest.raises(DatasetError, match="none' does not exist"):
        load_dataset("digits", test=tmp_path / "none")


def test_every_problem_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        DatasetOptions(split=(0.5, 0.1), classes=["ant", "ant"])
    assert [line.split(" ")[0] for line in str(caught.value).splitlines() if " is " in line] == ["split", "classes"]


def test_options_can_be_keys() -> None:
    options = DatasetOptions(columns={"path": "file"})
    assert {options: 1}[DatasetOptions(columns={"path": "file"})] == 1
    assert options != DatasetOptions(columns={"path": "name"})
