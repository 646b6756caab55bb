"""What is doubtful about a dataset is said in one line each."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from featurebank import load_dataset
from featurebank.dataset.warning_lines import group_lines


def test_few_groups_and_groups_torn_by_given_splits() -> None:
    parts, splits = np.repeat(np.arange(40), 2), np.repeat(np.r_[[0] * 25, [1] * 12, [2] * 3], 2)
    (few,) = group_lines(parts, splits)
    assert few.startswith("few groups to measure on (test 3)")
    splits[0] = 1
    lines = " ".join(group_lines(parts, splits))
    assert "the given splits separate images with the same content (1 group with such copies)" in lines
    assert list(group_lines(np.arange(40), np.repeat([0, 1], 20))) == []


def test_copies_in_several_given_splits(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=6)
    copies = tmp_path / "ant" / "copy.png", tmp_path / "bee" / "copy.png"
    for copy in copies:
        shutil.copy(tmp_path / "ant" / "0.png", copy)
    assert not any(
        "copies" in line for line in load_dataset(tmp_path).warnings()
    )  # a split by content keeps them together
    shutil.copytree(tmp_path / "ant", tmp_path / "given" / "train" / "ant")
    shutil.copytree(tmp_path / "bee", tmp_path / "given" / "train" / "bee")
    given = tmp_path / "given" / "test"
    for name in ("ant/1.png", "bee/1.png"):
        (given / name).parent.mkdir(parents=True)
        shutil.copy(tmp_path / name, given / name)
    dataset = load_dataset(tmp_path / "given")
    (line,) = [line for line in dataset.warnings() if "copies" in line]
    assert line.startswith("2 images with copies in several of the given splits")
    assert dataset.warnings(files=False) == [other for other in dataset.warnings() if other != line]
