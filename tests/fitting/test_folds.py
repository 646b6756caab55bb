"""Folds: every image validates once, classes evenly, whatever the order of the images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import DatasetError, UnknownNameError
from featurebank.fitting.folds import Fold, FoldedImages, assign_folds, check_folds
from featurebank.system.progress import Reporter

pytestmark = pytest.mark.heavy


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), folds=st.integers(2, 7), repeat=st.integers(0, 3),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_classes_are_dealt_evenly_and_places_do_not_matter(
    labels: list[int], folds: int, repeat: int, seed: int
) -> None:
    y = np.array(labels)
    digests = np.array([f"{i * 7919 % 1009:032x}" for i in range(len(y))], "S32")
    found = assign_folds(digests, y, folds, repeat)
    assert set(found.tolist()) <= set(range(folds))
    counts = np.array([[np.sum(found[y == label] == fold) for fold in range(folds)] for label in np.unique(y)])
    assert (np.ptp(counts, axis=1) <= 1).all()
    assert np.ptp(counts.sum(axis=0)) <= 1, "the folds are of one size"
    order = np.random.default_rng(seed).permutation(len(y))
    assert (assign_folds(digests[order], y[order], folds, repeat) == found[order]).all()


def test_images_with_one_content_are_in_one_fold() -> None:
    digests = np.array(["a", "b", "a", "c", "d", "a"] * 3, "S32")
    labels = np.array([0, 0, 1, 0, 1, 0] * 3)  # one content under two labels, too
    found = assign_folds(digests, labels, 2)
    for content in np.unique(digests):
        assert len(np.unique(found[digests == content])) == 1


def test_repeats_are_other_divisions() -> None:
    digests = np.array([f"{i:032x}" for i in range(60)], "S32")
    labels = np.arange(60) % 3
    divisions = [assign_folds(digests, labels, 5, repeat).tobytes() for repeat in range(4)]
    assert len(set(divisions)) == 4
    assert assign_folds(digests, labels, 5, 2).tobytes() == divisions[2]


def test_every_image_but_the_test_images_validates_once(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 30, 30))
    images = FoldedImages(bank, "pooled")
    parts = [images.data(Fold(part, 5, 1)) for part in range(5)]
    assert [len(data.y_val) for data in parts] == [18] * 5
    assert [np.bincount(data.y_val).tolist() for data in parts] == [[6, 6, 6]] * 5
    validated = np.concatenate([data.X_val for data in parts])
    expected = np.concatenate([bank.features("pooled", split) for split in ("train", "val")])
    assert sorted(map(tuple, validated.tolist())) == sorted(map(tuple, expected.tolist()))
    for data in parts:
        assert {*map(tuple, data.X.tolist())}.isdisjoint(map(tuple, data.X_val.tolist()))
        assert len(data.y) + len(data.y_val) == 90
        rows = {tuple(row): int(label) for row, label in zip(bank.features(), bank.labels(), strict=True)}
        assert [rows[tuple(row)] for row in data.X] == data.y.tolist()


def test_features_are_read_once_for_all_folds(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make_bank()
    read: list[str] = []
    rows = Bank.rows

    def spy(self: Bank, tap: str, positions: Any, **more: Any) -> np.ndarray:
        read.append(tap)
        return rows(self, tap, positions, **more)

    monkeypatch.setattr(Bank, "rows", spy)
    images = FoldedImages(bank, "pooled")
    for part in range(5):
        images.data(Fold(part, 5))
    assert read == ["pooled"]


def test_a_fold_has_the_views_of_its_training_images(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Bank.rows
    monkeypatch.setattr(Bank, "views", 2)
    monkeypatch.setattr(Bank, "rows", lambda self, tap, positions, view=0: rows(self, tap, positions) + view)
    data = FoldedImages(make_bank(), "pooled").data(Fold(0, 3))
    assert [np.ptp(view - data.X - number) < 1e-5 for number, view in enumerate(data.views, 1)] == [True, True]


def relabelled(bank: Bank, labels: np.ndarray, splits: np.ndarray, digests: np.ndarray) -> Bank:
    items = bank._items
    with BankWriter(bank.path, bank.recipe, bank.manifest.dataset) as writer:
        writer.finish(Items(items.ids, digests, labels.astype(np.int32), splits), bank.taps, (), None)
    return Bank(bank.path)


def test_fewer_images_of_a_class_than_folds(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(9, 3, 9))
    assert check_folds(bank, 4) is None
    assert check_folds(bank, 5) == "3 of 3 classes have fewer images than 5 folds: 'class0', 'class1', 'class2'"
    items = bank._items
    kept = items.splits != 2
    labels = np.where(kept, 0, items.labels)
    labels[np.flatnonzero(kept)[:3]] = [1, 1, 2]
    rare = relabelled(bank, labels, items.splits, items.digests)
    assert check_folds(rare, 4) == (
        "2 of 3 classes have fewer images than 4 folds: 'class1', 'class2'; 1 of them has one image, "
        "on which heads are evaluated without training on the class"
    )
    for fold in range(4):
        assert len(np.unique(FoldedImages(rare, "pooled").data(Fold(fold, 4)).y)) >= 2


def test_a_class_that_is_in_one_fold_alone_ends_no_head(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(24, 9, 9))
    items = bank._items
    kept = items.splits != 2
    labels = np.where(kept, items.labels % 2, items.labels)
    labels[np.flatnonzero(kept)[0]] = 2  # of three classes, the last has one image
    rare = relabelled(bank, labels, items.splits, items.digests)
    told: list[str] = []

    class Warned(Reporter):
        def warn(self, line: str) -> None:
            told.append(line)

    reporter = Warned()
    kinds = ["softmax", "ridge", "lda", "svm", "xgboost", "xgboost:XGBClassifier", "knn"]
    runs = train_heads(rare, [{"kind": kind} for kind in kinds], folds=3, reporter=reporter)
    assert {run.head for run in runs} == set(kinds)
    assert [run.failure for run in runs if run.failure] == []
    assert any("1 of 3 classes has fewer images than 3 folds: 'class2'; 1 of them has one image" in t for t in told)


def test_too_few_images_for_folds(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(9, 3, 9))
    with pytest.raises(DatasetError, match="13 folds need at least 13 different training and validation images"):
        check_folds(bank, 13)
    items = bank._items
    labels = np.where(items.splits != 2, 0, items.labels)
    labels[np.flatnonzero(items.splits != 2)[0]] = 1
    with pytest.raises(DatasetError, match="has 12 images of 2 classes: use fewer folds"):
        check_folds(relabelled(bank, labels, items.splits, items.digests), 3)


def test_a_class_of_test_images_alone_needs_no_fold(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(12, 6, 3))
    items = bank._items
    labels = np.where(items.splits == 2, 2, items.labels % 2)
    check_folds(relabelled(bank, labels, items.splits, items.digests), 6)


def test_one_class_and_an_unknown_tap(make_bank: Callable[..., Bank]) -> None:
    with pytest.raises(DatasetError, match="of class 'class0': heads need"):
        FoldedImages(make_bank(classes=1), "pooled")
    with pytest.raises(DatasetError, match="are in the test split"):
        FoldedImages(make_bank("b", splits=(0, 0, 9)), "pooled")
    with pytest.raises(UnknownNameError, match="unknown tap 'map'"):
        FoldedImages(make_bank("c"), "map")
