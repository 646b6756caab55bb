"""Names of classes: one order everywhere, and names that may be a mistake."""

from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featurebank import load_dataset
from featurebank.dataset import class_names
from featurebank.dataset.class_names import in_order, look_alikes, on_a_scale
from featurebank.dataset.core import Contents, Dataset


def test_the_examples_are_right() -> None:
    assert doctest.testmod(class_names).failed == 0


@given(st.lists(st.integers(-999, 999), min_size=1), st.booleans())
def test_whole_numbers_are_ordered_as_numbers_alone(numbers: list[int], word: bool) -> None:
    names = [str(number) for number in numbers]
    expected = [str(number) for number in sorted(set(numbers))]
    assert list(in_order(names)) == expected
    assert list(in_order([*names, "x"])) == sorted({*names, "x"})


def test_folder_table_and_arrays_have_one_order(tmp_path: Path) -> None:
    rows, images, labels = [], [], []
    for number in range(12):
        for index in range(2):
            image = np.full((4, 4, 3), 20 * number + index, np.uint8)
            path = tmp_path / "folder" / str(number) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            rows.append(f"folder/{number}/{index}.png,{number}")
            images.append(image)
            labels.append(number)
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]))
    np.savez(tmp_path / "numbers.npz", x=np.stack(images), y=np.array(labels))
    np.savez(tmp_path / "texts.npz", x=np.stack(images), y=np.array([str(label) for label in labels]))
    for name in ("folder", "t.csv", "numbers.npz", "texts.npz"):
        found = load_dataset(tmp_path / name)
        assert found.classes == tuple(str(number) for number in range(12))
        for index in range(len(found)):
            assert found.labels[index] == found.image(index)[0, 0, 0] // 20
    part = load_dataset(tmp_path / "folder", classes=["10", "9", "2"])
    assert part.classes == ("2", "9", "10")


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("Dog", "dog", "capitals"),
        ("cat", "cat ", "blanks"),
        ("caf\u00e9", "cafe\u0301", "Unicode form"),
        ("Big Cat", "bigcat", "blanks, capitals or Unicode form"),
        ("\ufb01sh", "fish", "Unicode form"),
    ],
)
def test_names_that_look_alike_are_both_named(one: str, other: str, what: str) -> None:
    (line,) = look_alikes(sorted([one, other, "else"]))
    assert f"differ only in {what}: " in line
    assert all(f"'{name}'" in line or ascii(name) in line for name in (one, other))
    assert line.isprintable()


def test_different_names_are_no_news() -> None:
    assert list(look_alikes(["cat", "cats", "c a t s 2", "10", "1"])) == []


def dataset(labels: list[str]) -> Dataset:
    classes = in_order(labels)
    numbers = np.array([classes.index(label) for label in labels], np.int32)
    rows = tuple(str(row) for row in range(len(labels)))
    return Dataset(Contents("d", "d", classes, rows, numbers, None), (0.7, 0.15, 0.15), 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "warned"),
    [
        ([f"{1 + index * 0.37:.2f}" for index in range(24)], True),
        (["0.5", "1.5", "2.5"] * 20, True),
        (["1,5", "2,5", "3,5"] * 20, True),
        ([str(20 + 3 * index) for index in range(24)], True),  # ages
        ([str(index) for index in range(10)] * 50, False),
        ([str(index) for index in range(1, 41)], False),  # numbers of classes, of which there are few images
        (["1", "2", "5"] * 20, False),
        (["v1.5", "v2.5", "v3.5"] * 3, False),
        (["1.0", "2.0"] * 9, False),
    ],
)
def test_labels_on_a_scale_are_noticed(labels: list[str], warned: bool) -> None:
    found = dataset(labels)
    lines = list(on_a_scale(found.classes, np.bincount(found.labels)))
    assert bool(lines) == warned
    assert all("numbers on a scale" in line for line in lines)
