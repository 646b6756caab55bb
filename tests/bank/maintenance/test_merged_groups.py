"""Merged banks keep groups whole, or one line says why they cannot."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from featurebank.bank.items import Items
from featurebank.bank.maintenance.agreement import Resplit
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.bank.writer import BankWriter
from featurebank.dataset.splits import assign
from featurebank.errors import ConfigError


@pytest.fixture
def part(tmp_path: Path, rows: SimpleNamespace) -> Any:
    """Makes a bank of some numbers, with the group and the split of each."""

    def make(numbers: range, names: list[str], splits: list[int], **record: Any) -> Path:
        dataset = {**rows.dataset, "groups": "patient", **record}
        path = tmp_path / f"c{len(list(tmp_path.iterdir()))}" / f"{dataset['name']}--net--0"
        plain = rows.items(numbers)
        items = Items(
            plain.ids, plain.digests, plain.labels, np.array(splits, np.uint8), {"group": np.array(names)}
        )  # fmt: skip
        with BankWriter(path, rows.recipe, {key: value for key, value in dataset.items() if value is not None}) as to:
            to.append(plain.ids, rows.keys(plain.digests), {"pooled": rows.features(numbers)}, {"pooled": None})
            to.finish(items, ["pooled"], [], None)
        return path

    return make


def test_groups_of_one_name_are_one_group(part: Any, tmp_path: Path) -> None:
    one = part(range(4), ["a", "a", "b", "b"], [0, 0, 1, 1])
    two = part(range(4, 8), ["b", "b", "c", "c"], [1, 1, 2, 2])
    bank = merge_banks([one, two], tmp_path / "cache")
    assert bank.manifest.dataset["groups"] == "patient"
    assert bank.groups().tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    other = part(range(4, 8), ["b", "b", "c", "c"], [1, 1, 2, 2], name="more", spec="folder:/more", groups="person")
    assert merge_banks([one, other], tmp_path / "cache").manifest.dataset["groups"] == "patient+person"


def test_a_group_on_two_sides_is_refused_and_a_new_split_keeps_it_whole(part: Any, tmp_path: Path) -> None:
    one = part(range(4), ["a", "a", "b", "b"], [0, 0, 1, 1])
    two = part(range(4, 8), ["b", "b", "c", "c"], [2, 2, 2, 2])
    with pytest.raises(
        ConfigError, match=r"1 group stands in different splits in different banks, 'b' \(val and test\)"
    ):
        merge_banks([one, two], tmp_path / "cache")
    for seed in range(4):
        resplit = Resplit((0.5, 0.3, 0.2), seed, lambda keys, seed=seed: assign(keys, None, (0.5, 0.3, 0.2), seed))
        bank = merge_banks([one, two], tmp_path / "cache", resplit=resplit)
        sides = set(zip(bank.metadata()["group"].tolist(), bank.splits().tolist(), strict=True))
        assert len(sides) == 3


def test_groups_by_different_rules_are_refused(part: Any, tmp_path: Path) -> None:
    one = part(range(4), ["a", "a", "b", "b"], [0, 0, 1, 1])
    without = part(range(4, 8), list("bbcc"), [1, 1, 2, 2], groups=None)
    with pytest.raises(
        ConfigError, match=r"have groups \('patient'\), and those of '.*' have none: extract all banks with"
    ):
        merge_banks([one, without], tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"the groups are 'patient' in '.*' and 'person' in '.*': extract all banks"):
        merge_banks([one, part(range(4, 8), list("bbcc"), [1, 1, 2, 2], groups="person")], tmp_path / "cache")
