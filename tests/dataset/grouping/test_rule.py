"""Groups come from a column or from the path, and what is wrong with them is said at once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featurebank as fb
from featurebank.dataset import Dataset
from featurebank.dataset.options import DatasetOptions
from featurebank.errors import ConfigError, DatasetError
from featurebank.system.options import OptionsError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty photos of ten patients, in the folders of two classes: ant/p0/0.png."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for patient in range(10):
        folder = root / "photos" / ("ant", "bee")[patient % 2] / f"p{patient}"
        folder.mkdir(parents=True)
        for number in range(2):
            Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).save(folder / f"{number}.png")
    return root


def table(photos: Path, name: str, column: list[object], **more: list[str]) -> Path:
    """Writes a table of the photos with a column `patient`; `None` leaves a value out."""
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    header = ["path", "label", "patient", *more]
    values = ["" if value is None else str(value) for value in column]
    rows = zip(paths, [path.split("/")[1] for path in paths], values, *more.values(), strict=True)
    file = photos / name
    file.write_text("\n".join([",".join(header), *(",".join(row) for row in rows)]))
    return file


PATIENTS = [f"p{place // 2}" for place in range(20)]
TWO_FOLDERS = "path:(?P<group>[^/]+)/[^/]+$"


@pytest.mark.parametrize(
    "values", [PATIENTS, [place // 2 for place in range(20)], [f"{place // 2}.5" for place in range(20)]]
)
def test_a_column_of_texts_or_numbers(photos: Path, values: list[object]) -> None:
    dataset = fb.load_dataset(table(photos, "plain.csv", values), groups="patient")
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [str(value) for value in values]
    splits = dict(zip(dataset.groups.tolist(), dataset.splits.tolist(), strict=True))
    assert [splits[name] for name in dataset.groups.tolist()] == dataset.splits.tolist()


def test_the_path_and_the_column_give_the_same_splits(photos: Path) -> None:
    by_path = fb.load_dataset(photos / "photos", layout="classes", groups=TWO_FOLDERS)
    assert by_path.groups is not None
    lists = photos / "list.txt"
    lists.write_text("\n".join(f"photos/{name} {name.split('/')[0]}" for name in by_path.ids))
    column = sorted(by_path.ids)
    for other in (
        fb.load_dataset(table(photos, "same.csv", [name.split("/")[1] for name in column]), groups="patient"),
        fb.load_dataset(f"lists:{lists}", groups=TWO_FOLDERS),
        fb.load_dataset([str(photos / "photos" / name) for name in by_path.ids], groups=TWO_FOLDERS),
    ):
        assert by_place(other) == by_place(by_path)


def by_place(dataset: Dataset) -> dict[tuple[str, ...], int]:
    """Returns the split of each photo by its last folder and its name."""
    return {Path(name).parts[-2:]: split for name, split in zip(dataset.ids, dataset.splits.tolist(), strict=True)}


def test_a_part_of_the_dataset_keeps_the_sides(photos: Path) -> None:
    whole = fb.load_dataset(photos / "photos", layout="classes", groups=TWO_FOLDERS)
    splits = dict(zip(whole.ids, whole.splits.tolist(), strict=True))
    for options in ({"limit": 9}, {"per_class": 4}, {"classes": ["ant", "bee"]}):
        part = fb.load_dataset(photos / "photos", layout="classes", groups=TWO_FOLDERS, **options)
        assert [splits[name] for name in part.ids] == part.splits.tolist()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None, *PATIENTS[2:]], "2 images have no value, the first is 'photos/ant/p0/0.png': enter the group of"),
        (["p1", "  ", *["p1"] * 18], "1 image has no value, .*; all images are of one group, 'p1': expected several"),
        (["1", "nan", *["2"] * 18], "1 image has no value, 'photos/ant/p0/1.png'"),
        (["only"] * 20, "all images are of one group, 'only'"),
    ],
)
def test_a_column_that_cannot_be_used(photos: Path, values: list[object], message: str) -> None:
    with pytest.raises(DatasetError, match=f"the groups 'patient' of 'manifest:.*wrong.csv': {message}"):
        fb.load_dataset(table(photos, "wrong.csv", values), groups="patient")


def test_all_problems_at_once(photos: Path) -> None:
    splits = ["train", "test", *["train"] * 14, "", "val", "test", "test"]
    file = table(photos, "torn.csv", [*PATIENTS[:14], None, None, *PATIENTS[16:]], split=splits)
    message = (
        r"2 images have no value, the first is '.*': enter the group of each image; 1 group stands in several of the "
        r"given splits, 'p0' \(train and test\): give each group one split, leave the splits out, or use other groups"
    )
    with pytest.raises(DatasetError, match=message):
        fb.load_dataset(file, groups="patient")


def test_rules_that_find_nothing(photos: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"there is no column 'doctor' \(found patient\): expected one, or a rule on"
    ):
        fb.load_dataset(table(photos, "plain.csv", PATIENTS), groups="doctor")
    with pytest.raises(DatasetError, match=r"there is no column 'doctor' \(it has no further columns\)"):
        fb.load_dataset(photos / "photos", layout="classes", groups="doctor")
    with pytest.raises(
        DatasetError, match=r"10 paths do not match, the first is 'ant/p0/0.png': expected a group in each"
    ):
        fb.load_dataset(photos / "photos", layout="classes", groups="path:^bee/(?P<group>[^/]+)/")
    with pytest.raises(DatasetError, match="20 paths do not match"):
        fb.load_dataset(photos / "photos", layout="classes", groups="path:(?P<group>x?)")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path:(?P<group>[^/]+",
            "the part after 'path:' is not a regular expression (missing ), unterminated subpattern",
        ),
        ("path:([^/]+)/", "the regular expression has no part named 'group': put (?P<group>...) around it"),
        (" ", "expected the name of a column, or a rule on the path"),
    ],
)
def test_a_rule_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        fb.load_dataset("digits", groups=text)
    with pytest.raises(OptionsError) as caught:
        DatasetOptions(groups=text, split=[0.5, 0.4])
    assert {problem.name for problem in caught.value.problems} == {"groups", "split"}, "both at once"


def test_another_test_set_has_groups_of_its_own(photos: Path) -> None:
    ours = table(photos, "ours.csv", PATIENTS)
    new = table(photos, "new.csv", [f"q{place}" for place in range(20)])
    dataset = fb.load_dataset(ours, test=new, groups="patient")
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [*PATIENTS, *(f"q{place}" for place in range(20))]
    one = table(photos, "one.csv", ["q"] * 20)
    assert len(fb.load_dataset(ours, test=one, groups="patient")) == 40, "a test set may be of one group"
    with pytest.raises(
        DatasetError, match=r"10 groups stand in the test images .*, too, 'p0', 'p1', 'p2' and 7 more: leave"
    ):
        fb.load_dataset(ours, test=table(photos, "again.csv", PATIENTS), groups="patient")
    with pytest.raises(DatasetError, match=r"the groups 'patient' of 'folder:.*there is no column 'patient'"):
        fb.load_dataset(ours, test=f"folder:{photos}/photos#layout=classes", groups="patient")


def test_doubtful_groups_are_named(photos: Path) -> None:
    values = ["NA", "NA", "P2", "p2", *PATIENTS[4:]]
    warnings = " ".join(fb.load_dataset(table(photos, "odd.csv", values), groups="patient").warnings())
    assert "2 images of the group 'NA' count as one group: if that means a missing value" in warnings
    assert "groups differ only in capitals or Unicode form, 'P2' and 'p2'" in warnings
    alone = fb.load_dataset(table(photos, "alone.csv", list(range(20))), groups="patient").warnings()
    assert any("every image is a group of its own" in line for line in alone)
