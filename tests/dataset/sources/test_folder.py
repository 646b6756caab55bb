"""Folders as people have them."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset import Skipped
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import BadImageError, DatasetError


def test_images_at_any_depth_and_nothing_else(tmp_path: Path, make: SimpleNamespace) -> None:
    names = [
        "a/1.png",
        "a/deep/er/2.PNG",
        "b/3.JpEg",
        "b/x.png/4.webp",
        "b/ünï 图.jpg",
        "b/5.tiff",
        "b/6.gif",
        "b/7.bmp",
    ]
    for number, name in enumerate(names):
        make.save(tmp_path / name, number)
    for name in ("a/.hidden.png", ".cache/x/8.png", "a/.git/9.png"):
        make.save(tmp_path / name, 0)
    for name in ("a/notes.txt", "a/png", "a/x.png.txt"):
        (tmp_path / name).write_text("no image")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    dataset = load_dataset(str(tmp_path))
    assert dataset.ids == tuple(sorted(names))
    assert dataset.classes == ("a", "b")
    assert [dataset.classes[label] for label in dataset.labels] == [name[0] for name in dataset.ids]
    assert dataset.unreadable == []
    assert all(dataset.image(index).shape == (8, 8, 3) for index in range(len(dataset)))


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("training", "validation", "testing"), ("Train", "valid", "TEST")]
)
def test_given_splits(tmp_path: Path, make: SimpleNamespace, names: tuple[str, ...]) -> None:
    make.folder(tmp_path, names, each=2)
    (tmp_path / "logs").mkdir()  # holds no image, so that it is in nobody's way
    dataset = load_dataset(str(tmp_path))
    assert dataset.classes == ("ant", "bee", "cat")
    expected = {names[0]: TRAIN, names[1]: VAL, names[2]: TEST}
    assert dataset.splits.tolist() == [expected[name.split("/")[0]] for name in dataset.ids]
    assert dataset.counts()["val"] == {"ant": 2, "bee": 2, "cat": 2}


def test_train_alone_is_no_given_split(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = load_dataset(str(make.folder(tmp_path, ("train",))))
    assert dataset.classes == ("ant", "bee", "cat")
    assert set(dataset.splits.tolist()) == {TRAIN, VAL, TEST}


def test_train_and_val_have_no_test(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = load_dataset(str(make.folder(tmp_path, ("train", "val"), each=3)))
    assert dataset.splits.tolist() == [TRAIN] * 9 + [VAL] * 9
    assert dataset.warnings() == ["split 'test' has no images"]


def test_a_stranger_beside_the_splits_is_reported(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, ("train", "test"), each=2)
    make.save(tmp_path / "extra" / "1.png", 99)
    dataset = load_dataset(str(tmp_path))
    assert dataset.classes == ("ant", "bee", "cat")
    assert "folder 'extra' is neither train, val nor test: its image is omitted" in dataset.warnings()
    assert not [line for line in dataset.warnings() if "outside the class folders" in line]  # each is told once


def test_renaming_moves_no_image(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path / "one", each=30)
    before = load_dataset(str(tmp_path / "one"))
    table = dict(zip(before.digests.tolist(), before.splits.tolist(), strict=True))
    for number, path in enumerate(sorted((tmp_path / "one").rglob("*.png"))):
        path.rename(path.with_name(f"new{-number}.png"))
    (tmp_path / "one").rename(tmp_path / "two")
    after = load_dataset(str(tmp_path / "two"))
    assert dict(zip(after.digests.tolist(), after.splits.tolist(), strict=True)) == table


def test_what_is_left_out_is_said(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=8)
    make.save(tmp_path / "loose.png", 1)
    (tmp_path / "docs").mkdir()
    lines = load_dataset(str(tmp_path)).warnings()
    assert "1 image lies outside the class folders, the first is 'loose.png': omitted" in lines
    assert "folder 'docs' has no images: it is not a class" in lines


def test_a_folder_of_images_without_a_label_has_images(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=8)
    make.save(tmp_path / "Unlabelled" / "new" / "1.png", 1)
    (tmp_path / "unlabeled").mkdir()
    lines = load_dataset(str(tmp_path), unlabelled="keep").warnings()
    empty = [line for line in lines if line.startswith("folder")]
    assert empty == ["folder 'unlabeled' has no images: it is not a class"]


def test_links_are_followed_once(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "root", each=3)
    make.save(tmp_path / "elsewhere" / "1.png", 77)
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "ant" / "round").symlink_to(root)
    (root / "again").symlink_to(root / "ant")
    deep = root / "ant" / "1" / "2" / "3" / "4" / "5" / "6"
    deep.mkdir(parents=True)
    (deep / "round").symlink_to(root)
    dataset = load_dataset(str(root))
    assert dataset.classes == ("ant", "bee", "cat", "dog")
    assert len(dataset) == 10
    notes = [line for line in dataset.warnings() if "is a link to one that is already listed" in line]
    assert [re.findall("'(.*?)'", line)[0] for line in notes] == ["again", "ant/1/2/3/4/5/6/round", "ant/round"]
    assert sum("'again'" in line for line in dataset.warnings()) == 1


def test_files_that_cannot_be_read_are_named(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path, each=8)
    (root / "ant" / "broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "ant" / "circle.jpg").symlink_to(root / "ant" / "circle.jpg")
    dataset = load_dataset(str(root))
    (root / "bee" / "1.png").unlink()
    (root / "cat" / "1.png").unlink()
    (root / "cat" / "1.png").mkdir()
    reasons = {entry.id: entry.reason for entry in dataset.unreadable}
    assert list(reasons) == ["ant/broken.jpg", "ant/circle.jpg", "bee/1.png", "cat/1.png"]
    assert dataset.unreadable[0] == Skipped("ant/broken.jpg", "file not found")
    assert "symbolic links" in reasons["ant/circle.jpg"]
    assert reasons["cat/1.png"] == "a directory, not a file"
    assert [dataset.digests[dataset.ids.index(name)] for name in reasons] == [b""] * 4
    assert sum(sum(row.values()) for row in dataset.counts().values()) == len(dataset) - 4
    assert dataset.warnings()[0] == "4 images cannot be read, the first is 'ant/broken.jpg': file not found"
    with pytest.raises(BadImageError, match=r"^file not found$"):
        dataset.image(dataset.ids.index("bee/1.png"))


def test_content_that_changes_is_noticed(tmp_path: Path, make: SimpleNamespace) -> None:
    dataset = load_dataset(str(make.folder(tmp_path, each=2)))
    make.save(tmp_path / "ant" / "0.png", 1000)
    np.testing.assert_array_equal(dataset.image(0), make.picture(1000))  # nothing was promised yet
    dataset.fingerprint()
    make.save(tmp_path / "ant" / "0.png", 1001)
    with pytest.raises(BadImageError, match=r"^changed while it was being read$"):
        dataset.image(0)
    (tmp_path / "ant" / "1.png").unlink()
    with pytest.raises(BadImageError, match=r"^file not found$"):
        dataset.image(1)


def test_permission_and_size(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(str(make.folder(tmp_path, each=2)))
    monkeypatch.setattr("featurebank.dataset.sources.folder._MOST_BYTES", 10)
    with pytest.raises(BadImageError, match=r"a file of .* bytes, more than"):
        dataset.image(0)

    def refuse(path: str, flags: int) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("featurebank.system.files.os.open", refuse)
    with pytest.raises(BadImageError, match=r"^permission denied$"):
        dataset.image(0)
    assert {entry.reason for entry in dataset.unreadable} == {"permission denied"}


def test_names_that_are_not_utf8(tmp_path: Path, make: SimpleNamespace) -> None:
    root = make.folder(tmp_path / "root", each=2)
    raw = os.fsencode(root / "ant")
    for name in (b"\xff.png", b"\\xff.png"):
        Path(os.fsdecode(raw + b"/" + name)).write_bytes((root / "ant" / "0.png").read_bytes())
    dataset = load_dataset(str(root))
    odd = [name for name in dataset.ids if "xff" in name]
    assert odd == ["ant/\\xff.png", "ant/\\xff.png_"]
    json.dumps(dataset.ids, ensure_ascii=False).encode()
    assert dataset.unreadable == []
    np.testing.assert_array_equal(dataset.image(dataset.ids.index(odd[1])), make.picture(0))


def test_large_files_are_hashed_in_blocks(tmp_path: Path, make: SimpleNamespace) -> None:
    from featurebank.system import digest

    root = make.folder(tmp_path, each=2)
    with (root / "ant" / "0.png").open("r+b") as file:
        file.truncate((1 << 24) + 1)
    dataset = load_dataset(str(root))
    assert dataset.digests[0] == digest.of_file(root / "ant" / "0.png").encode()


def message_of(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(f"folder:{path}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_errors(tmp_path: Path, make: SimpleNamespace) -> None:
    assert "there is no folder" in message_of(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in message_of(tmp_path / "file")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    assert "no images in" in message_of(tmp_path / "empty")
    make.save(tmp_path / "flat" / "1.png", 1)
    assert re.search("images are directly in .* expected FOLDER/CLASS", message_of(tmp_path / "flat"))
    make.save(tmp_path / "flat-train" / "train" / "1.png", 1)
    assert re.search("images are directly in '.*/train'", message_of(tmp_path / "flat-train"))
    assert "is not valid UTF-8" in message_of(Path(os.fsdecode(bytes(tmp_path) + b"/\xff")))


def test_one_class_alone_is_a_warning(tmp_path: Path, make: SimpleNamespace) -> None:
    make.save(tmp_path / "only" / "1.png", 1)
    found = load_dataset(tmp_path)
    assert found.classes == ("only",)
    assert found.warnings()[0].startswith("all images are of one class, 'only': heads need two or more")


def test_a_folder_that_cannot_be_listed(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    make.folder(tmp_path, each=1)
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("bee"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("featurebank.dataset.readers.walk.os.scandir", refuse)
    assert re.search("cannot list the folder '.*/bee': permission denied; repair it", message_of(tmp_path))
