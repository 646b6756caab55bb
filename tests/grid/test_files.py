"""Grid files: lists are axes, and what is wrong with a file by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from featurebank.errors import ConfigError, UnknownNameError
from featurebank.grid import read_grid


def write(folder: Path, text: str, name: str = "a.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_grid_is_the_product_of_its_axes(tmp_path: Path) -> None:
    text = '[[head]]\nkind = "mlp"\nlearning_rate = [1e-3, 1e-2]\ntap = ["pooled", "map"]\nepochs = 5\n'
    found = read_grid(str(write(tmp_path, text)))
    assert [(spec["learning_rate"], spec["tap"]) for spec in found] == [
        (1e-3, "pooled"), (1e-3, "map"), (1e-2, "pooled"), (1e-2, "map"),
    ]  # fmt: skip
    assert all(spec["kind"] == "mlp" and spec["epochs"] == 5 for spec in found)


def test_a_list_in_a_list_is_one_value(tmp_path: Path) -> None:
    one = write(tmp_path, '[[head]]\nkind = "mlp"\nhidden_units = [[512, 256]]\n')
    assert [spec["hidden_units"] for spec in read_grid(str(one))] == [[512, 256]]
    three = write(tmp_path, '[[head]]\nkind = "mlp"\nhidden_units = [512, [512, 256], [64]]\n')
    assert [spec["hidden_units"] for spec in read_grid(str(three))] == [512, [512, 256], [64]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a.toml: 'head' is missing"),
        ("head = 3", "a.toml:1: 'head' is 3: expected"),
        ("\nhead = []", "a.toml:2: 'head' is \\[\\]: expected"),
        ("[head]\nkind = 'svm'", "a.toml:1: 'head' is {'kind': 'svm'}: expected"),
        ("[[heads]]\nkind = 'svm'", "a.toml:1: unknown key 'heads': did you mean 'head'"),
        ("folds = 5\n[[head]]\nkind = 'svm'", "a.toml:1: unknown key 'folds': .*options of 'featurebank heads'"),
        ("[[head]]\nkind = 'svm'\n[[head]]\nC = 1.0", "a.toml:3: 'kind' is missing: expected"),
        ("[[head]]\nkind = 3", "a.toml:2: 'kind' is 3: expected"),
        ("[[head]]\nkind = ['svm', 'knn']", "a.toml:2: 'kind' is \\['svm', 'knn'\\]: expected the name of one head"),
        ("[[head]]\nkind = 'svm'\nC = []", "a.toml:3: 'C' is an empty list"),
        ("[[head]]\nkind = svm", "not valid TOML: .*line 2"),
    ],
)
def test_a_file_that_is_wrong_by_itself(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_grid(str(write(tmp_path, text)))


def test_an_unknown_grid_suggests() -> None:
    with pytest.raises(UnknownNameError, match="unknown grid 'defualt': did you mean 'default'"):
        read_grid("defualt")


def test_a_missing_grid_file() -> None:
    with pytest.raises(ConfigError, match=r"there is no grid file 'none.toml'"):
        read_grid("none.toml")
