"""Parts of a dataset: which images they hold does not depend on order, and hardly on what is added."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import load_dataset
from featurebank.dataset.core import Contents
from featurebank.dataset.subset import Subset, numbers, select_subset
from featurebank.errors import ConfigError, UnknownNameError


class NoPixels:
    in_threads = False

    def digest(self, index: int) -> str:
        raise AssertionError("something was read")

    def image(self, index: int, expected: bytes | None, levels: object = None) -> np.ndarray:
        raise AssertionError("something was read")


def contents(ids: list[str], classes: int = 3) -> Contents:
    labels = np.array([sum(name.encode()) % classes for name in ids], np.int32)
    names = tuple(f"c{label}" for label in range(classes))
    return Contents("d", "d", names, tuple(ids), labels, NoPixels(), metadata={"id": np.array(ids)})


IDS = st.lists(st.text("abcdef/", min_size=1), min_size=1, max_size=40, unique=True)


@given(IDS, st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_sample_does_not_depend_on_the_order(ids: list[str], limit: int, random: Any) -> None:
    other = list(ids)
    random.shuffle(other)
    first, second = (
        select_subset(contents(ids), Subset(limit=limit)),
        select_subset(contents(other), Subset(limit=limit)),
    )
    assert len(first.ids) == min(limit, len(ids))
    assert set(first.ids) == set(second.ids)
    assert list(first.ids) == [name for name in ids if name in set(first.ids)]  # the order of the ids is kept
    assert first.metadata["id"].tolist() == list(first.ids)


@given(IDS, st.integers(1, 50), st.text("xyz", min_size=1))
def test_an_added_image_pushes_out_one_at_most(ids: list[str], limit: int, new: str) -> None:
    before = set(select_subset(contents(ids), Subset(limit=limit)).ids)
    after = set(select_subset(contents([*ids, new]), Subset(limit=limit)).ids)
    assert len(before - after) <= 1
    assert after - before <= {new}


@given(IDS, st.integers(1, 9), st.integers(1, 20))
def test_so_many_of_each_class(ids: list[str], per_class: int, limit: int) -> None:
    whole = contents(ids)
    part = select_subset(whole, Subset(per_class=per_class))
    totals = np.bincount(whole.labels, minlength=3)
    np.testing.assert_array_equal(np.bincount(part.labels, minlength=3), np.minimum(totals, per_class))
    assert len(part.notes) == int((totals < per_class).sum())
    both = select_subset(whole, Subset(per_class=per_class, limit=limit))
    assert set(both.ids) <= set(part.ids)
    assert len(both.ids) == min(limit, len(part.ids))


def test_the_numbers_are_the_same_for_ever() -> None:
    expected = [5276240932200390137, 14680932155924949794, 9493263629615500827]
    assert numbers(["0", "ant/1.jpg", "ünï"]).tolist() == expected


def test_classes_are_numbered_anew(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "photos", ("train", "test"), each=4)
    whole = load_dataset(root)
    part = load_dataset(root, classes=["cat", "ant"])
    assert part.classes == ("ant", "cat")
    assert part.ids == tuple(name for name in whole.ids if "bee" not in name)
    assert [part.classes[label] for label in part.labels] == [name.split("/")[1] for name in part.ids]
    index = whole.ids.index(part.ids[-1])
    assert part.digests[-1] == whole.digests[index]
    assert part.splits[-1] == whole.splits[index]
    np.testing.assert_array_equal(part.image(len(part) - 1), whole.image(index))


def test_a_subset_has_a_name_of_its_own(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "photos", each=4)
    whole = load_dataset(root)
    part = load_dataset(root, classes=["cat", "ant"], limit=5)
    same = load_dataset(root, classes=["ant", "cat", "ant"], limit=np.int64(5))  # type: ignore[arg-type]
    other = load_dataset(root, classes=["ant", "cat"], limit=6)
    assert part.subset == same.subset == {"classes": ["ant", "cat"], "limit": 5}
    assert part.name == same.name
    assert part.name[:-7] == whole.name
    assert part.name[-7] == "-"
    assert len({whole.name, part.name, other.name}) == 3
    assert part.spec == whole.spec
    assert whole.subset == {}


def test_unreadable_images_keep_their_names(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "photos", each=4)
    dataset = load_dataset(root, classes=["bee", "cat"])
    (root / "cat" / "2.png").unlink()
    assert [(entry.id, entry.reason) for entry in dataset.unreadable] == [("cat/2.png", "file not found")]


def test_an_unknown_class(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "photos", each=1)
    with pytest.raises(UnknownNameError, match="unknown class 'bees': did you mean 'bee'"):
        load_dataset(root, classes=["ant", "bees"])


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"classes": ["ant"]}, "expected at least two different class names"),
        ({"classes": ["ant", "ant"]}, "expected at least two different class names"),
        ({"classes": []}, "expected at least two different class names"),
        ({"classes": "ant"}, "expected a list of class names"),
        ({"classes": [1, 2]}, "expected a list of class names"),
        ({"limit": 0}, "limit is 0: expected a whole number of images, 1 or more"),
        ({"limit": -3}, "limit is -3"),
        ({"limit": 1.5}, "limit is 1.5"),
        ({"limit": True}, "limit is True"),
        ({"per_class": 0}, "per_class is 0"),
        ({"per_class": "3"}, "per_class is '3'"),
    ],
)
def test_what_is_asked_for_is_checked_before_the_dataset(options: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_dataset("./none", **options)
    assert part in str(caught.value)
