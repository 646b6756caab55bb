"""Banks agree on a content, or it is told: as looking at every image one by one tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank.items import Items
from featurebank.bank.maintenance.agreement import Resplit, check_splits, labelled_differently, split_again
from featurebank.errors import ConfigError

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=8)


def table(rows: list[tuple[int, int, int]], name: str) -> Items:
    """Images of some contents, labels and splits."""
    contents, labels, splits = (np.array(column) for column in zip(*rows, strict=True))
    digests = np.array([f"{content:032x}" for content in contents.tolist()], "S32")
    ids = [f"{name}/{place}" for place in range(len(rows))]
    return Items(ids, digests, labels.astype(np.int32), splits.astype(np.uint8))


@given(st.lists(ROWS, min_size=2, max_size=4))
def test_splits_and_labels_that_disagree_are_found(parts: list[list[tuple[int, int, int]]]) -> None:
    tables = [table(rows, f"bank{number}") for number, rows in enumerate(parts)]
    splits: dict[int, set[frozenset[int]]] = {}
    labels: dict[int, set[int]] = {}
    for rows in parts:
        for content in {row[0] for row in rows}:
            splits.setdefault(content, set()).add(frozenset(row[2] for row in rows if row[0] == content))
            labels.setdefault(content, set()).update(row[1] for row in rows if row[0] == content)
    wrong = sum(len(said) > 1 for said in splits.values())
    if wrong:
        with pytest.raises(ConfigError, match=rf"^{wrong} images? (is|are) in different splits in different banks"):
            check_splits(tables, [f"b{n}" for n in range(len(tables))])
    else:
        check_splits(tables, [f"b{n}" for n in range(len(tables))])
    several = sum(len(said) > 1 for said in labels.values())
    lines = list(labelled_differently(tables))
    assert [int(line.partition(" ")[0]) for line in lines] == ([several] if several else [])

    again, about = split_again(tables, Resplit((1, 0, 0), 5, lambda digests: np.zeros(len(digests), np.uint8)))
    check_splits(again, [f"b{n}" for n in range(len(tables))])
    assert about["resplit"]["moved"] == sum(row[2] != 0 for rows in parts for row in rows)
