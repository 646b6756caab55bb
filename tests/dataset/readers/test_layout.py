"""How trees of folders are read: classes, splits, folds and wrappers, and what can be read in two ways."""

from __future__ import annotations

import doctest
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from featurebank import load_dataset
from featurebank.dataset.readers import layout as module
from featurebank.dataset.readers.folder_tree import tree_of
from featurebank.dataset.readers.layout import ClassTree, find_layout, place_files, split_code
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import ConfigError, DatasetError, UnknownNameError

CLASSES = ("ant", "bee", "cow")


def files(*folders: str, each: int = 2) -> list[str]:
    return [f"{folder}/{number}.png" for folder in folders for number in range(each)]


def under(*places: str) -> list[str]:
    """Images of all classes in each of some places."""
    return files(*(f"{place}/{name}" if place else name for place, name in product(places, CLASSES)))


def read(paths: list[str], choice: str | None = None) -> tuple[set[str], dict[str, ClassTree], tuple[str, ...]]:
    """The classes, the part of each path that has one, and the notes."""
    found = find_layout("/data", tree_of(paths), choice)
    places = dict(zip(paths, place_files(paths, found.parts), strict=True))
    return (
        {place[1] for place in places.values() if place},
        {name: place[0] for name, place in places.items() if place},
        found.notes,
    )


def test_the_examples_are_right() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("training_set", "validation_set", "test_set"),
        ("Train", "Valid", "Test"),
        ("TRAINING", "DEV", "TESTING"),
        ("seg_train/seg_train", "seg_dev", "seg_test/seg_test"),
        ("train2017", "val2017", "test2017"),
        ("train-images", "validation-images", "test-images"),
        ("trainset", "valset", "testset"),
        ("images/train", "images/val", "images/test"),
        ("archive/data/train", "archive/data/val", "archive/data/test"),
    ],
)
def test_splits_have_many_names(train: str, val: str, test: str) -> None:
    classes, parts, _ = read(under(train, val, test))
    assert classes == set(CLASSES)
    codes = {train: TRAIN, val: VAL, test: TEST}
    assert len(parts) == 18
    assert all(
        part.split == code
        for place, code in codes.items()
        for name, part in parts.items()
        if name.startswith(f"{place}/")
    )


@pytest.mark.parametrize(
    "word", ["trains", "restrain", "contest", "value", "latest", "ant", "training wheels", "", "12"]
)
def test_other_words_are_no_splits(word: str) -> None:
    assert split_code(word) is None


@pytest.mark.parametrize("wrapper", ["", "flower_photos", "a/b/c", "train"])
def test_wrappers_are_looked_through_and_named(wrapper: str) -> None:
    classes, parts, notes = read(under(wrapper))
    assert classes == set(CLASSES)
    assert {part.split for part in parts.values()} == {None}
    assert list(notes) == ([f"the class folders are those in '{wrapper}'"] if wrapper not in {"", "train"} else [])


@pytest.mark.parametrize(
    "names",
    [("fold1", "fold2", "fold3"), ("1", "2", "10"), ("Fold_01", "Fold_02", "Fold_03"), ("cv-0", "cv-1", "cv-2")],
)
def test_numbered_folders_with_the_same_classes_are_folds(names: tuple[str, ...]) -> None:
    classes, parts, notes = read(under(*names))
    assert classes == set(CLASSES)
    assert {name.split("/")[0]: part.fold for name, part in parts.items()} == {
        name: int("".join(filter(str.isdigit, name))) for name in names
    }
    assert "heads --folds given" in notes[0]


def test_what_lies_beside_splits_is_left_out_and_named() -> None:
    paths = [*under("Train"), *files("Test", "Meta"), *files("seg_pred/seg_pred")]
    classes, parts, notes = read(paths)
    assert classes == set(CLASSES)
    assert {name.split("/")[0] for name in parts} == {"Train"}
    assert "folder 'Meta' is neither train, val nor test: its 2 images are omitted" in notes
    assert "folder 'seg_pred' is neither train, val nor test: its 2 images are omitted" in notes


def test_a_split_with_other_folders_than_train_is_left_out() -> None:
    classes, parts, notes = read([*under("train", "test"), *files("val/images")])  # labels of val stand elsewhere
    assert classes == set(CLASSES)
    assert {name.split("/")[0] for name in parts} == {"train", "test"}
    assert notes == ("folder 'val' has none of the class folders of train: its 2 images are omitted",)


@pytest.mark.parametrize(
    "paths",
    [
        files("train", "car", "bus"),  # vehicles
        files("train/steam", "car", "bus"),
        files("train", "test", "exam"),
        files("1", "2", "3"),
        files("fold1", "fold2"),
        files("cat", "cat/2019", "cat/2020", "dog"),  # albums beside loose images
        files("n01/images", "n02/images", "n03/images"),
        files("cat/a/b/c", "dog"),
    ],
)
def test_folders_of_images_are_classes(paths: list[str]) -> None:
    classes, parts, _ = read(paths)
    assert classes == {name.split("/")[0] for name in paths}
    assert len(parts) == len(paths)


def refusal(paths: list[str], choice: str | None = None) -> str:
    with pytest.raises(DatasetError) as caught:
        read(paths, choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "paths",
    [
        under("one", "two"),
        under("left", "right", "both"),
        under("train", "extra"),
        under("train", "test", "extra"),
        under("val", "test"),
        under("cam1", "cam2"),
        files("cat/2019", "cat/2020", "dog/2019", "dog/2020"),
    ],
)
def test_two_readings_are_both_shown(paths: list[str]) -> None:
    message = refusal(paths)
    assert message.startswith("'/data' is ambiguous")
    assert "--layout splits" in message
    assert "--layout classes" in message
    first = {name.split("/")[0] for name in paths}
    assert read(paths, "classes")[0] == first


def test_what_is_chosen_is_done() -> None:
    classes, parts, notes = read(under("train", "test", "extra"), "splits")
    assert classes == set(CLASSES)
    assert {part.path for part in parts.values()} == {"train", "test"}
    assert notes == ("folder 'extra' is neither train, val nor test: its 6 images are omitted",)
    assert {part.path for part in read(under("train", "extra"), "splits")[1].values()} == {"train"}
    assert "which are not splits: expected train" in refusal(under("one", "two"), "splits")
    assert read(under("photos"), "classes")[0] == {"photos"}
    with pytest.raises(UnknownNameError, match="unknown layout 'folds'"):
        read(under("a", "b"), "folds")


def test_a_folder_one_level_too_high_is_noticed() -> None:
    paths = [*under("flowers"), *files("a", "b"), *under("cifar/train", "cifar/test")]
    message = refusal(paths)
    assert message == (
        "class 'cifar' has class folders of its own ('test', 'train'), and 1 more has their own: did you mean "
        "'/data/cifar'? --layout classes uses the folders of '/data' as the classes nevertheless"
    )
    assert read(paths, "classes")[0] == {"flowers", "cifar", "a", "b"}


NAMES = st.sampled_from(["train", "test", "val", "a", "b", "1", "2", "fold1", "fold2", "x"])
PATHS = st.lists(st.lists(NAMES, max_size=4).map(lambda parts: "/".join([*parts, "i.png"])), min_size=1, unique=True)


@given(PATHS)
def test_every_tree_is_read_or_refused_in_one_line(paths: list[str]) -> None:
    try:
        classes, parts, notes = read(paths)
    except DatasetError as refused:
        lines = str(refused).splitlines()
        assume(len(lines) != 1)
        raise
    assert classes
    assert all("\n" not in note for note in notes)
    for name, part in parts.items():  # each image lies below its part, in a class folder
        inside = name[len(part.path) + 1 :] if part.path else name
        assert name.startswith(part.path)
        assert inside.split("/")[0] in classes
        assert "/" in inside
    assert read(paths[::-1])[0] == classes


def test_through_the_door(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path / "sets", ("training_set", "test_set"), each=3)
    found = load_dataset(tmp_path / "sets")
    assert found.classes == ("ant", "bee", "cat")
    assert found.counts()["test"] == {"ant": 3, "bee": 3, "cat": 3}
    make.folder(tmp_path / "two", ("one", "two"), each=3)
    with pytest.raises(DatasetError, match="--layout splits"):
        load_dataset(tmp_path / "two")
    chosen = load_dataset(tmp_path / "two", layout="classes")
    assert chosen.spec == f"folder:{tmp_path / 'two'}#layout=classes"
    assert load_dataset(chosen.spec).classes == chosen.classes == ("one", "two")
    with pytest.raises(ConfigError, match="layout is given for the dataset 'digits'"):
        load_dataset("digits", layout="classes")


def test_a_split_of_loose_images_is_no_split(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, ("train",), each=20)
    for number in range(3):
        make.save(tmp_path / "val" / f"{number}.png", 900 + number)
    found = load_dataset(tmp_path)
    assert found.warnings() == ["3 images lie outside the class folders, the first is 'val/0.png': omitted"]
    assert all(sum(row.values()) for row in found.counts().values())  # all three splits, decided by content


def test_folds_are_kept_with_the_images(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, ("fold1", "fold2", "fold10"), each=4)
    found = load_dataset(tmp_path)
    assert found.classes == ("ant", "bee", "cat")
    assert found.metadata["fold"].tolist() == [int(name.split("/")[0][4:]) for name in found.ids]
