"""Folds of groups: whole components, of similar sizes, with similar shares of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import DatasetError
from featurebank.fitting.folds import Fold, check_folds, dataset_folds, fold_positions
from featurebank.fitting.group_folds import assign_group_folds
from featurebank.system import digest


@given(
    images=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=60),
    folds=st.integers(2, 6), repeat=st.integers(0, 3), seed=st.integers(0, 5),
)  # fmt: skip
def test_a_component_is_in_one_fold_and_no_fold_is_empty(
    images: list[tuple[int, int]], folds: int, repeat: int, seed: int
) -> None:
    parts, labels = np.array(images).T
    digests = np.array([f"{i * 7919 % 1009:032x}" for i in range(len(parts))], "S32")
    found = assign_group_folds(parts, digests, labels, folds, repeat)
    assert len(set(zip(parts.tolist(), found.tolist(), strict=True))) == len(set(parts.tolist()))
    assert len(set(found.tolist())) == min(folds, len(set(parts.tolist())))
    order = np.random.default_rng(seed).permutation(len(parts))
    assert (assign_group_folds(parts[order], digests[order], labels[order], folds, repeat) == found[order]).all()


def test_folds_have_similar_sizes_and_shares_of_each_class() -> None:
    random = np.random.default_rng(0)
    parts = np.sort(random.integers(0, 200, 4000))
    labels = np.where(random.random(4000) < 0.7, random.integers(0, 4, 200)[parts], random.integers(0, 4, 4000))
    digests = np.array([f"{i:032x}" for i in range(4000)], "S32")
    found = [assign_group_folds(parts, digests, labels, 5, repeat) for repeat in range(2)]
    assert (found[0] != found[1]).any()
    for numbers in found:
        sizes = np.bincount(numbers, minlength=5)
        assert np.ptp(sizes) < 0.05 * 800
        for label in range(4):
            each = np.bincount(numbers[labels == label], minlength=5)
            assert np.ptp(each) < 0.1 * each.mean()


def grouped(path: Path, groups: str, labels: str, *, folds: str = "", contents: str = "") -> Bank:
    """Makes a bank of one image a letter: its group, its class, its fold and its content."""
    count = len(groups)
    names = [f"{number}.png" for number in range(count)]
    digests = np.array([digest.of_recipe(contents[n] if contents else n) for n in range(count)], "S32")
    codes = np.array([sorted(set(labels)).index(letter) for letter in labels], np.int32)
    columns = {"group": np.array(list(groups)), **({"fold": np.array(list(folds))} if folds else {})}
    record = {"name": "made", "classes": sorted(set(labels)), "groups": "patient"}
    with BankWriter(path, {"backbone": "none"}, record) as writer:
        writer.append(names, row_keys(digests), {"pooled": np.eye(count, dtype=np.float32)}, {"pooled": None})
        writer.finish(Items(names, digests, codes, np.zeros(count, np.uint8), columns), ("pooled",), (), None)
    return Bank(path)


def sides(bank: Bank, folds: list[Fold]) -> dict[str, list[int]]:
    names = bank.metadata()["group"]
    found: dict[str, list[int]] = {}
    for fold in folds:
        for name in sorted(set(names[fold_positions(bank, fold, inside=True)].tolist())):
            found.setdefault(name, []).append(fold.part)
    return found


def test_a_bank_with_groups_is_divided_by_them(tmp_path: Path) -> None:
    bank = grouped(tmp_path / "b", "aabbccddee", "xyxyxyxyxy", contents="0123455678")
    folds = [Fold(part, 3) for part in range(3)]
    found = sides(bank, folds)
    assert all(len(places) == 1 for places in found.values())
    assert found["c"] == found["d"], "they have an image in common"
    assert check_folds(bank, 3) is None


@pytest.mark.parametrize(
    ("groups", "labels", "message"),
    [
        (
            "aabbcc",
            "xyxyxy",
            "4 folds need at least 4 groups of training and validation images, .* 'b' has 3 groups of 2",
        ),
        ("aabbccdd", "xyxxxyxx", None),
        ("aabbccdd", "xxyyxxxx", "two classes in at least two groups each"),
    ],
)
def test_too_few_groups(tmp_path: Path, groups: str, labels: str, message: str | None) -> None:
    bank = grouped(tmp_path / "b", groups, labels)
    if message is None:
        warning = check_folds(bank, 3)
        assert warning is not None
        assert warning.startswith("1 of 2 classes is in fewer groups than 3 folds: 'y'")
        return
    with pytest.raises(DatasetError, match=message):
        check_folds(bank, 4)


def test_folds_of_the_dataset_keep_groups_whole_or_are_refused(tmp_path: Path) -> None:
    torn = grouped(tmp_path / "a", "aabbcc", "xyxyxy", folds="121122")
    with pytest.raises(
        DatasetError, match="1 group stands in several of the folds that the dataset of 'a' defines, 'a'"
    ):
        dataset_folds(torn)
    whole = grouped(tmp_path / "b", "aabbcc", "xyxyxy", folds="112233", contents="012234")
    found = sides(whole, dataset_folds(whole))
    assert found["a"] != found["c"]
    assert all(len(places) == 1 for places in found.values()), "also of groups with an image in common"
