"""Corrections: what they change, what they leave alone, and how wrong ones are refused, all at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.bank.maintenance.merge import merge_banks
from featurebank.errors import ConfigError

pytestmark = pytest.mark.heavy


@pytest.fixture
def extracted(photos: Path, tmp_path: Path, lite: Backbone, pixels: object) -> Callable[[], Bank]:
    """Extracts the photos as they are now."""
    return lambda: fb.extract(fb.load_dataset(str(photos)), lite, cache=tmp_path / "cache")


def label_of(bank: Bank, name: str) -> str:
    return bank.classes[bank.labels()[bank.position(name)]]


def test_a_later_extraction_keeps_them(extracted: Callable[[], Bank], photos: Path) -> None:
    before = extracted()
    bank = fb.correct_labels(before, {"ant/2.png": "bee", "bee/1.png": "ant", "ant/4.png": "ant"}).bank
    assert (label_of(bank, "ant/2.png"), label_of(bank, "bee/1.png")) == ("bee", "ant")
    assert bank.digest != before.digest, "runs of the old labels are stale"
    assert (bank.features() == before.features()).all()
    assert bank.manifest.history[-1]["relabelled"] == 2
    (photos / "ant" / "new.png").write_bytes((photos / "bee" / "5.png").read_bytes()[:-1] + b"\0")
    shutil.copy(photos / "ant" / "2.png", photos / "ant" / "copy.png")
    again = extracted()
    assert (label_of(again, "ant/2.png"), label_of(again, "ant/copy.png")) == ("bee", "bee")
    assert label_of(again, "ant/4.png") == "ant"
    back = fb.correct_labels(again, {"ant/2.png": "ant", "bee/1.png": "bee"}).bank
    assert "corrections" not in back.manifest.dataset or not back.manifest.dataset["corrections"]


def test_what_the_dataset_says_itself_counts(extracted: Callable[[], Bank], photos: Path) -> None:
    fb.correct_labels(extracted(), {"ant/2.png": "bee"})
    (photos / "ant" / "2.png").rename(photos / "bee" / "2.png")
    bank = extracted()
    assert label_of(bank, "bee/2.png") == "bee"
    assert "corrections" not in bank.manifest.dataset
    (photos / "bee" / "2.png").rename(photos / "ant" / "2.png")
    assert label_of(extracted(), "ant/2.png") == "ant", "a settled correction is forgotten"


def test_merged_banks_keep_them(extracted: Callable[[], Bank], tmp_path: Path) -> None:
    bank = fb.correct_labels(extracted(), {"ant/2.png": "bee"}).bank
    shutil.copytree(bank.path, tmp_path / "other")
    merged = merge_banks([bank.path, tmp_path / "other"], tmp_path / "merged")
    assert label_of(merged, "ant/2.png") == "bee"
    assert merged.manifest.dataset["corrections"] == bank.manifest.dataset["corrections"]


def test_a_dry_run_changes_nothing(extracted: Callable[[], Bank]) -> None:
    bank = extracted()
    done = fb.correct_labels(bank, {"ant/2.png": "bee"}, dry_run=True)
    assert not done.applied
    assert [(one.id, one.was, one.label) for one in done.changes] == [("ant/2.png", "ant", "bee")]
    assert repr(done) == "<Relabelling of 1 image, not applied: ant to bee 1>"
    assert Bank(bank.path).digest == bank.digest
    assert any("stale" in note for note in done.notes)


def test_other_banks_of_the_dataset_are_named(
    extracted: Callable[[], Bank], photos: Path, tmp_path: Path, lite: Backbone
) -> None:
    bank = extracted()
    other = fb.load_backbone("efficientnet_lite0", weights="random:1", image_size=32)
    second = fb.extract(fb.load_dataset(str(photos)), other, cache=tmp_path / "cache")
    done = fb.correct_labels(bank, {"ant/2.png": "bee"})
    assert done.others == (second.name,)
    assert any(f"--bank {second.name}, too" in note for note in done.notes)
    assert fb.correct_labels(second, {"ant/2.png": "bee"}).others == ()


def test_all_problems_at_once(extracted: Callable[[], Bank], tmp_path: Path) -> None:
    bank, file = extracted(), tmp_path / "wrong.csv"
    before = bank.manifest
    rows = ["path,label", "ant/2.pn,bee", "bee/1.png,wasp", "ant/4.png,bee", "ant/4.png,ant", "ant/8.png,bee"]
    file.write_text("\n".join(rows))
    with pytest.raises(ConfigError) as refused:
        fb.correct_labels(bank, file)
    assert str(refused.value).splitlines() == [
        f"'{file}': line 2: unknown image 'ant/2.pn', did you mean 'ant/2.png'?",
        f"'{file}': line 3: unknown class 'wasp' for image 'bee/1.png': expected ant and bee",
        f"'{file}': line 5: image 'ant/4.png' is listed twice, with the labels bee and ant: keep one",
    ]
    assert Bank(bank.path).manifest == before


def test_equal_images_get_one_label(leaky_bank: Bank) -> None:
    with pytest.raises(ConfigError, match=r"the same image as 'train/ant/same.png', with the labels bee and ant"):
        fb.correct_labels(leaky_bank, {"train/ant/same.png": "bee", "test/bee/same.png": "ant"})


def test_copies_of_an_image_change_along_and_are_listed(extracted: Callable[[], Bank], photos: Path) -> None:
    name = extracted().ids("train")[0]
    folder, file = Path(name).parent, photos / name
    (photos / folder / "copy.png").write_bytes(file.read_bytes())
    bank = extracted()
    label = next(other for other in bank.classes if other != folder.name)
    done = fb.correct_labels(bank, {name: label})
    assert {one.id for one in done.changes} == {name, f"{folder}/copy.png"}
    assert done.bank.manifest.history[-1]["relabelled"] == len(done.changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: expected the columns path and label"),
        ("path,label\n", "has no rows"),
        ("file,label\na,b\n", "has the columns file, label: expected path exactly once"),
        ("path,label,label\na,b,c\n", "expected label exactly once"),
        ("path,label\na,b,c\nd\n", r"line 2 has 3 fields: expected 2\n.*line 3 has 1 field: expected 2"),
        ('path,label\n"a,b\n', "is not valid CSV"),
        ("path,label\n\xff,b\n".encode("latin-1"), "is not UTF-8"),
        (None, "cannot be read: No such file"),
    ],
)
def test_files_that_are_no_corrections(
    make_bank: Callable[..., Bank], tmp_path: Path, text: str | bytes | None, message: str
) -> None:
    file = tmp_path / "corrections.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        fb.correct_labels(make_bank(), file)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_write_other_delimiters(make_bank: Callable[..., Bank], tmp_path: Path, delimiter: str) -> None:
    bank, file = make_bank(), tmp_path / "edited.csv"
    now = label_of(bank, "0.png")
    other = next(name for name in bank.classes if name != now)
    file.write_text(f"\ufeffLabel{delimiter}Path\r\n{other}{delimiter}0.png\r\n", encoding="utf-8")
    assert label_of(fb.correct_labels(bank, file).bank, "0.png") == other
