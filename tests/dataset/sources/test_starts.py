"""Paths of tables that are right elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from featurebank import load_dataset
from featurebank.errors import DatasetError


@pytest.fixture
def images(tmp_path: Path, make: SimpleNamespace) -> Path:
    """A folder that holds images/ant/0.png and five more, and an empty folder `tables`."""
    make.folder(tmp_path / "d" / "images", each=2)
    (tmp_path / "d" / "tables").mkdir()
    return tmp_path / "d"


def table(path: Path, start: str, separator: str = "/") -> Path:
    rows = [(kind, f"{start}{kind}{separator}{number}.png") for kind in ("ant", "bee", "cat") for number in range(2)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["path,label", *(f"{name},{kind}" for kind, name in rows)]))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DatasetError) as refused:
        load_dataset(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700
    return str(refused.value)


def test_backslashes_of_windows(images: Path) -> None:
    found = load_dataset(table(images / "t.csv", "images\\", "\\"))
    assert found.ids[0] == "images/ant/0.png"
    assert found.unreadable == []
    assert r"paths have backslashes, as 'images\ant\0.png': they are read as '/'" in found.warnings()


def test_backslashes_in_names_of_files_stay(images: Path, make: SimpleNamespace) -> None:
    for name in ("a\\b.png", "c\\d.png"):
        make.save(images / name, 7)
    (images / "t.csv").write_text("path,label\na\\b.png,x\nc\\d.png,y\n")
    found = load_dataset(images / "t.csv")
    assert found.ids == ("a\\b.png", "c\\d.png")
    assert found.unreadable == []


@pytest.mark.parametrize(
    ("place", "start", "found_in"),
    [
        ("t.csv", "images/", "."),
        ("t.csv", "", "images"),
        ("tables/t.csv", "images/", "."),
        ("tables/t.csv", "", "images"),
        ("tables/t.csv", "../images/", "."),
    ],
)
def test_paths_start_where_the_images_are(images: Path, place: str, start: str, found_in: str) -> None:
    path = table(images / place, start)
    found = load_dataset(path)
    assert found.unreadable == []
    said = [line for line in found.warnings() if line.startswith("paths are relative to")]
    beside = start.startswith("..") or (path.parent / start / "ant").is_dir()
    where = (images / found_in).resolve()
    line = f"paths are relative to '{where}', where the images are, not to the folder of the table"
    assert said == ([] if beside else [line])


def test_a_table_beside_one_of_its_images_starts_there(images: Path, make: SimpleNamespace) -> None:
    make.save(images / "tables" / "images" / "ant" / "0.png", 1)
    found = load_dataset(table(images / "tables" / "t.csv", "images/"))
    assert len(found.unreadable) == 5  # no guess where the folder of the table is right for one


def test_the_one_folder_beside_the_table_that_has_the_images(images: Path, make: SimpleNamespace) -> None:
    (images / "images").rename(images / "train_images")
    found = load_dataset(table(images / "t.csv", ""))
    assert found.unreadable == []
    assert f"paths are relative to '{images}/train_images', where the images are" in " ".join(found.warnings())
    make.save(images / "small" / "ant" / "0.png", 1)
    assert "may be those of 2 folders beside it, 'small', 'train_images': write the paths" in refusal(images / "t.csv")


def test_hidden_folders_beside_the_table_do_not_count(images: Path, make: SimpleNamespace) -> None:
    (images / "images").rename(images / "train_images")
    make.save(images / ".thumbnails" / "ant" / "0.png", 1)
    found = load_dataset(table(images / "t.csv", ""))
    assert f"paths are relative to '{images}/train_images'" in " ".join(found.warnings())


def test_too_many_folders_beside_the_table_are_not_searched_in_part(images: Path) -> None:
    """Which of them the disk lists first says nothing."""
    (images / "images").rename(images / "train_images")
    for number in range(100):
        (images / f"{number}").mkdir()
    message = refusal(table(images / "t.csv", ""))
    assert "none of its 6 images exists" in message
    assert f"'{images}/*'" not in message
    for number in range(10):
        (images / f"{number}").rmdir()
    assert load_dataset(images / "t.csv").unreadable == []


def test_paths_from_the_current_directory_are_refused(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images / "images")
    message = refusal(table(images / "far" / "away" / "t.csv", ""))
    assert "none of its 6 images exists, the first is 'ant/0.png'" in message
    assert f"they are in the current directory '{images}/images': move the table there" in message


@pytest.mark.parametrize("start", ["/home/somebody/", "C:\\Users\\somebody\\", "\\\\server\\share\\"])
def test_paths_of_another_machine_are_one_line(images: Path, start: str) -> None:
    message = refusal(table(images / "t.csv", start))
    first = f"{start}ant/0.png".replace("\\", "/")
    assert (
        f"none of its 6 images exists, the first is '{first}': are these absolute paths of another machine?" in message
    )


def test_paths_that_are_nowhere_say_where_they_were_looked_for(images: Path) -> None:
    message = refusal(table(images / "t.csv", "photos/"))
    assert f"searched '{images}', '{images}/images', '{images.parent}'" in message
    assert f"'{images}/*'; write" in message


def test_one_image_that_is_there_is_enough(images: Path) -> None:
    path = images / "t.csv"
    path.write_text("path,label\n" + "".join(f"no{n}.png,x\n" for n in range(999)) + "images/ant/0.png,y\n")
    assert len(load_dataset(path).unreadable) == 999
