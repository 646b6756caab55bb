"""Options: what is wrong with them is told together, before anything starts."""

from __future__ import annotations

from typing import Any, cast

import pytest

from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.fitting.folds import Fold
from featurebank.grid.options import GridOptions

NO_BANK = cast("Bank", None)
"""A number of folds needs none."""


def test_the_defaults_are_right() -> None:
    assert (GridOptions().seed_list(), GridOptions().fold_list(NO_BANK)) == ([0], [None])


def test_seeds_and_folds() -> None:
    assert GridOptions(seeds=3).seed_list() == [0, 1, 2]
    assert GridOptions(seeds=(5, 3, 5)).seed_list() == [5, 3]
    assert GridOptions(folds=2, repeats=2).fold_list(NO_BANK) == [
        Fold(0, 2, 0),
        Fold(1, 2, 0),
        Fold(0, 2, 1),
        Fold(1, 2, 1),
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seeds": 0}, "seeds is 0: expected a whole number of 1 or more, or a list of seeds"),
        ({"seeds": []}, r"seeds is \[\]"),
        ({"seeds": -1}, "seeds is -1"),
        ({"seeds": [0, -3]}, r"seeds is \[0, -3\]"),
        ({"search": "randon"}, "search is 'randon': expected 'all', 'random' or 'halving'"),
        ({"search": "random"}, "^search 'random' needs --runs N"),
        ({"search": "random", "runs": 0}, "runs is 0: expected a whole number of 1 or more"),
        ({"runs": 5}, "runs is 5, but search is 'all'"),
        ({"folds": 1}, "folds is 1: expected a whole number of 2 or more"),
        ({"folds": 2.5}, "folds is 2.5"),
        (
            {"folds": "five"},
            "folds is 'five': expected a whole number of 2 or more, such as 5, or 'given'",
        ),
        ({"folds": "given", "repeats": 2}, "the dataset defines only one division into folds: leave repeats out"),
        ({"folds": True}, "folds is True"),
        ({"folds": 5, "repeats": 0}, "repeats is 0: expected a whole number of 1 or more"),
        ({"repeats": 2}, "repeats is 2, but folds is not set"),
        ({"budget": 0}, "budget is 0: expected a number of seconds above 0"),
        ({"budget": float("nan")}, "budget is nan"),
    ],
)
def test_what_is_wrong(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        GridOptions(**options)


def test_all_that_is_wrong_is_told() -> None:
    with pytest.raises(ConfigError, match=r"seeds is.*\nsearch is 'best'.*\nfolds is.*\nbudget is"):
        GridOptions(seeds=0, search="best", folds=0, budget=-1)
