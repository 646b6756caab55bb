"""Text files of paths, as people write them and as the birds of Caltech come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import load_dataset
from featurebank.dataset.readers.text_lists import split_line
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import ConfigError, DatasetError


def lines(path: Path, *texts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path, make: SimpleNamespace) -> Path:
    """A folder with images/ant, images/bee and images/cat, two images each."""
    make.folder(tmp_path / "d" / "images", each=2)
    return tmp_path / "d"


def message_of(spec: object) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(f"lists:{spec}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_class_is_the_folder(photos: Path, make: SimpleNamespace) -> None:
    lines(photos / "train.txt", "ant/0.png", "", "bee/0.png", "cat/0.png ")
    lines(photos / "valid.txt", "\ufeffant/1.png")
    lines(photos / "test.txt", "bee/1.png\r", "cat/none.png")
    dataset = load_dataset(f"lists:{photos}")
    assert dataset.ids == ("ant/0.png", "bee/0.png", "cat/0.png", "ant/1.png", "bee/1.png", "cat/none.png")
    assert dataset.classes == ("ant", "bee", "cat")
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.splits.tolist() == [TRAIN] * 3 + [VAL] + [TEST] * 2
    assert [(entry.id, entry.reason) for entry in dataset.unreadable] == [("cat/none.png", "file not found")]
    np.testing.assert_array_equal(dataset.image(1), make.picture(2))
    assert dataset.spec == f"lists:{photos}"


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", "   "])
def test_labels(photos: Path, separator: str) -> None:
    texts = [f"images/{name}/{n}.png{separator}the {name}" for name in ("ant", "bee", "cat") for n in (0, 1)]
    dataset = load_dataset(f"lists:{lines(photos / 'all.txt', *texts)}")
    assert dataset.classes == ("the ant", "the bee", "the cat")
    assert dataset.ids[0] == "images/ant/0.png"
    assert dataset.unreadable == []


def test_paths_with_blanks(tmp_path: Path, make: SimpleNamespace) -> None:
    names = ["my ant/a 1.png", "my ant/b.jpg 2.png", "my bee/c, d.PNG", "my bee/none 3.png"]
    for number, name in enumerate(names[:3]):
        make.save(tmp_path / name, number)
    assert load_dataset(f"lists:{lines(tmp_path / 'plain.txt', *names)}").ids == tuple(names)
    labelled = load_dataset(
        f"lists:{lines(tmp_path / 'labels.txt', *[f'{name} x y{i}' for i, name in enumerate(names)])}"
    )
    assert labelled.ids == tuple(names)
    assert labelled.classes == ("x y0", "x y1", "x y2", "x y3")


def test_paths_without_suffix(tmp_path: Path, make: SimpleNamespace) -> None:
    for number, name in enumerate(("001", "002", "a b")):
        make.save(tmp_path / "images" / f"{name}.png", number).rename(tmp_path / "images" / name)
    dataset = load_dataset(f"lists:{lines(tmp_path / 'x.txt', '001 cat', '002 hot dog', 'a b cat')}")
    assert dataset.ids == ("001", "002", "a b")
    assert dataset.classes == ("cat", "hot dog")
    assert dataset.unreadable == []


NAMES = st.text("ab .,", min_size=1).map(str.strip).filter(lambda name: name.strip(" .,") == name != "")


@given(NAMES, st.sampled_from([" ", "\t", ","]), st.text("xy z", min_size=1).map(str.strip).filter(bool))
def test_a_suffix_tells_path_from_label(name: str, separator: str, label: str) -> None:
    assert split_line(f"{name}.jpg{separator}{label}", "/nowhere") == (f"{name}.jpg", label)
    assert split_line(f"{name}.jpg", "/nowhere") == (f"{name}.jpg", None)


def test_lists_by_name(photos: Path) -> None:
    train = lines(photos / "a.txt", "ant/0.png", "bee/0.png")
    val = lines(photos / "b, c.txt", "ant/1.png")
    test = lines(photos / "other" / "d.txt", f"{photos}/images/bee/1.png")
    two = load_dataset(f"lists:{train}, {test}")
    assert set(two.splits[2:].tolist()) == {TEST}
    assert load_dataset(two.spec).ids == two.ids
    plain = val.rename(photos / "b.txt")
    three = load_dataset(f"lists:{train},{plain},{test}")
    assert three.splits.tolist() == [TRAIN, TRAIN, VAL, TEST]
    assert len({two.name, three.name}) == 2
    one = lines(photos / "x,y.txt", "ant/0.png", "bee/0.png")
    assert load_dataset(f"lists:{one}").ids == ("ant/0.png", "bee/0.png")
    with pytest.raises(ConfigError, match=r"names 4 lists: expected TRAIN,TEST or TRAIN,VAL,TEST"):
        load_dataset(f"lists:{train},{train},{train},{train}")


def test_lists_whose_images_lie_apart(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path / "x", each=1)
    make.folder(tmp_path / "y" / "images", each=1)
    train = lines(tmp_path / "x" / "train.txt", "ant/0.png", "bee/0.png")
    test = lines(tmp_path / "y" / "test.txt", "ant/0.png")
    dataset = load_dataset(f"lists:{train},{test}")
    assert dataset.ids == ("x/ant/0.png", "x/bee/0.png", "y/images/ant/0.png")
    assert dataset.unreadable == []


def test_the_birds_of_2010(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path / "images", each=20)
    names = [f"{kind}/{n}.png" for kind in ("ant", "bee", "cat") for n in range(20)]
    lines(tmp_path / "lists" / "train.txt", *names[::2])
    lines(tmp_path / "lists" / "test.txt", *names[1::2])
    lines(tmp_path / "lists" / "files.txt", *names)
    dataset = load_dataset(f"lists:{tmp_path}")
    assert dataset.ids[0] == "ant/0.png"
    splits = dict(zip(dataset.ids, dataset.splits.tolist(), strict=True))
    assert {splits[name] for name in names[1::2]} == {TEST}
    assert {splits[name] for name in names[::2]} == {TRAIN, VAL}  # val is carved out of train
    assert load_dataset(f"lists:{tmp_path}/lists").ids == dataset.ids


@pytest.fixture
def cub(photos: Path) -> Callable[..., Path]:
    """Writes the tables of 2011 for the six photos; a table can be replaced, or left out as None."""

    def write(**tables: list[str] | None) -> Path:
        names = [f"{kind}/{n}.png" for kind in ("ant", "bee", "cat") for n in (0, 1)]
        standard = {
            "images": [f"{i} {name}" for i, name in enumerate(names, 1)],
            "image_class_labels": [f"{i} {(i + 1) // 2}" for i in range(1, 7)],
            "classes": ["1 001.Ant", "2 002.Big Bee", "3 003.Cat"],
            "train_test_split": [f"{i} {i % 2}" for i in range(1, 7)],
        }
        for name, texts in {**standard, **tables}.items():
            (photos / f"{name}.txt").unlink(missing_ok=True)
            if texts is not None:
                lines(photos / f"{name}.txt", *texts)
        return photos

    return write


def test_the_birds_of_2011(cub: Callable[..., Path]) -> None:
    dataset = load_dataset(f"lists:{cub()}")
    assert dataset.classes == ("001.Ant", "002.Big Bee", "003.Cat")
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.contents.predefined is not None
    assert dataset.contents.predefined.tolist() == [TRAIN, TEST] * 3
    assert dataset.unreadable == []
    for left_out in ({"classes": None}, {"image_class_labels": None}, {"image_class_labels": None, "classes": None}):
        assert load_dataset(f"lists:{cub(**left_out)}").classes == ("ant", "bee", "cat")


def test_problems_of_the_tables_are_told_together(cub: Callable[..., Path]) -> None:
    split = ["1 1", "2 2", "3", "4 0", "4 1", "6 1", "7 1"]
    message = message_of(cub(train_test_split=split))
    for part in (
        "train_test_split.txt, line 3: '3', expected a number, a blank and a value",
        "train_test_split.txt, line 5: the number 4 is already in line 4",
        "train_test_split.txt has no line for image 3 of images.txt, line 3",
        "train_test_split.txt has no line for image 5 of images.txt, line 5",
        "train_test_split.txt, line 7: images.txt has no image 7; and 1 more",
    ):
        assert part in message
    assert "line 2: '2', expected 1 for train or 0 for test" in message_of(cub(train_test_split=[*split[:2], "3 1"]))
    assert "image_class_labels.txt, line 5: classes.txt has no class 3" in message_of(cub(classes=["1 a", "2 b"]))
    assert "image_class_labels.txt has no line for image 6 of images.txt, line 6" in message_of(
        cub(image_class_labels=[f"{i} 1" for i in range(1, 6)])
    )


def test_errors(photos: Path, tmp_path: Path) -> None:
    assert "no lists in" in message_of(photos)
    assert "cannot read the list" in message_of(f"{photos}/none.txt")
    assert "file not found" in message_of(f"{photos}/none.txt,{photos}/test.txt")
    lines(photos / "train.txt", "ant/0.png cat", "ant/1.png", "bee/0.png bee")
    assert "train.txt, line 2: 'ant/1.png' has no label, but others have" in message_of(photos)
    lines(photos / "train.txt", "ant/0.png", "bee/0.png")
    lines(photos / "test.txt", "cat/0.png", "bee/0.png")
    assert "test.txt, line 2: 'bee/0.png' is already listed in train.txt, line 2, there in another" in message_of(
        photos
    )
    lines(photos / "test.txt", "bird/0.png", "bird/1.png")
    assert f"none of 2 images listed in '{photos}/test.txt' exists, the first is 'bird/0.png'" in message_of(photos)
    (photos / "test.txt").write_text(" \n\n")
    assert "is empty: expected one path per line" in message_of(photos)
    (photos / "test.txt").write_bytes(b"ant/1.png\ncaf\xe9.png\n")
    assert "line 2 is not UTF-8" in message_of(photos)
    loose = lines(photos / "images" / "ant" / "x.txt", "0.png", "1.png")
    assert "x.txt, line 1: '0.png' has no label and is in no folder" in message_of(loose)


def test_a_folder_of_lists_taken_for_class_folders(cub: Callable[..., Path]) -> None:
    folder = cub()
    with pytest.raises(DatasetError, match=r"holds one folder, 'images'; it holds lists of images: try 'lists:.*'"):
        load_dataset(str(folder))
    assert load_dataset(str(folder), layout="classes").classes == ("images",)
    line = f"the lists of images in '{folder}' are not read: 'lists:{folder}' takes classes and splits from them"
    (folder / "more").mkdir()
    next(folder.rglob("*.png")).rename(folder / "more" / "1.png")
    assert line in load_dataset(str(folder), layout="classes").warnings()
