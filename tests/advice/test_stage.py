"""Advice as a whole: what it says of a bank, its tables, its page, and what it never looks at."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import featurebank as fb
from featurebank.advice.findings import steps
from featurebank.advice.tables import table_names
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.errors import ConfigError, UnknownNameError
from featurebank.system import digest

pytestmark = pytest.mark.heavy

MARKUP = "<img src=x onerror=alert(1)>\"'{{7*7}}"


@pytest.fixture
def doubted(make_bank: Callable[..., Bank]) -> Bank:
    """A bank with three wrong labels, one of them in the test split."""
    bank = make_bank(splits=(120, 40, 40), noise=0.8)
    wrong = [bank.ids()[np.flatnonzero(bank.splits() == split)[0]] for split in ("train", "val", "test")]
    labels = bank.labels()
    changes = {name: bank.classes[(labels[bank.position(name)] + 1) % 3] for name in wrong}
    return fb.correct_labels(bank, changes).bank


def test_wrong_labels_are_found_but_not_in_the_test(doubted: Bank) -> None:
    advice = fb.advise(doubted)
    splits = doubted.splits()
    wrong = {doubted.ids()[np.flatnonzero(splits == split)[0]] for split in ("train", "val")}
    assert {one.image.id for one in fb.advise(doubted, top=2).label_errors} == wrong
    assert "test" not in {one.image.split for one in advice.label_errors}
    assert advice.images == 160
    assert "wrong: look at the image" in advice.sentences[0]
    assert any("test images were not examined" in note for note in advice.notes)
    more = fb.advise(doubted, top=9)
    assert len(more.label_errors) == 9
    assert [one.belief for one in more.label_errors] == sorted(one.belief for one in more.label_errors)


def test_tables_json_and_display(doubted: Bank, tmp_path: Path) -> None:
    advice = fb.advise(doubted)
    assert advice.curve is not None
    assert [one.more for one in advice.forecasts] == list(steps(160))
    json = advice.to_json()
    for name in table_names():
        columns, rows = advice.table(name)
        assert json[name] == [dict(zip(columns, row, strict=True)) for row in rows]
    assert json["forecasts"][0]["more"] == advice.forecasts[0].more > 0
    with pytest.raises(UnknownNameError, match="label_errors"):
        advice.table("labels")
    assert repr(advice).startswith("<Advice on bank bank, tap pooled>\n")
    assert "wrong: look at the image" in (advice._repr_html_() or "")
    assert advice.to_frame("forecasts")["more"].tolist() == [one.more for one in advice.forecasts]
    file = advice.write_csv(tmp_path / "doubts.csv")
    assert file.read_text().splitlines()[0] == "path,label,suggested,belief,probability,split,doubted"
    assert fb.correct_labels(doubted, file).unchanged == len(advice.label_errors), "as written, it changes nothing"


def test_equal_images_with_different_labels_and_their_pictures(leaky_bank: Bank, tmp_path: Path) -> None:
    advice = fb.advise(leaky_bank)
    pairs = {(one.first.id, one.second.id) for one in advice.conflicts if one.are_equal}
    assert pairs == {("train/ant/same.png", "test/bee/same.png")}
    page = advice.write_page(tmp_path / "page.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<img") >= 2
    assert "<script" not in text
    assert "equal byte for byte" in text
    with pytest.raises(ConfigError, match="exists"):
        advice.write_page(page)


def test_a_queue_of_images_without_labels(leaky_bank: Bank, leaky: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"no image")
    advice = fb.advise(leaky_bank, unlabelled=[photos, leaky / "train" / "ant" / "0.png"], label=4)
    assert any("1 image to label cannot be read; the first:" in note for note in advice.notes)
    labelling = advice.labelling
    assert labelling is not None
    assert (labelling.unlabelled, labelling.known) == (25, 1)
    assert len(labelling.queue) == 20
    assert [image.group for image in labelling.queue[: labelling.groups]] == list(range(1, labelling.groups + 1))
    assert {image.predicted for image in labelling.queue} <= {"ant", "bee"}
    lines = advice.write_csv(tmp_path / "queue.csv", "queue").read_text().splitlines()
    assert lines[0] == "path,label,margin,predicted,group"
    assert lines[1].startswith(f"{labelling.queue[0].path},,")


def test_too_little_to_say(make_bank: Callable[..., Bank]) -> None:
    few = make_bank("few", splits=(6, 2, 40))
    with pytest.raises(ConfigError, match=r"8 labelled images of 3 classes .* expected 10 images and two classes"):
        fb.advise(few)
    with pytest.raises(ConfigError, match=r"of 1 class "):
        fb.advise(make_bank("one", splits=(30, 0, 0), classes=1))
    with pytest.raises(ConfigError, match=r"'map' .* has maps: expected vectors"):
        fb.advise(make_bank("maps", taps=("map",)))
    small = fb.advise(make_bank("small", splits=(30, 0, 0)))
    assert small.curve is None
    assert any("needs 60 images" in note for note in small.notes)


def test_features_that_know_nothing_doubt_nothing(make_bank: Callable[..., Bank]) -> None:
    advice = fb.advise(make_bank(splits=(150, 0, 0), noise=60.0))
    assert advice.label_errors == ()
    assert advice.accuracy is None
    assert any("were not doubted" in note for note in advice.notes)


def test_groups_are_left_out_together(photos: Path, lite: Backbone, pixels: object, tmp_path: Path) -> None:
    dataset = fb.load_dataset(str(photos), groups=r"path:/(?P<group>\d)")
    advice = fb.advise(fb.extract(dataset, lite, cache=tmp_path / "cache"))
    assert any("predicted without its group" in note for note in advice.notes)


def test_names_that_are_markup_or_formulas(tmp_path: Path) -> None:
    """Neither a page nor a spreadsheet takes a name for its own text, and the table can be applied as it is."""
    count, names = 150, [MARKUP, "=1+1", "</script><script>alert(2)</script>"]
    labels = (np.arange(count) % 3).astype(np.int32)
    X = np.random.default_rng(0).normal(0, 2, (count, 8)).astype(np.float32)
    X[np.arange(count), labels] += 4
    X[1] = X[0]
    digests = np.array([digest.of_recipe([place]) for place in range(count)], "S32")
    ids = [f"{('=cmd', MARKUP)[place % 2]}{place}.png" for place in range(count)]
    splits = np.repeat(np.arange(4, dtype=np.uint8), [90, 30, 20, 10])
    with BankWriter(tmp_path / "bank", {"backbone": "net"}, {"name": "made", "classes": names}) as writer:
        writer.append(ids, row_keys(digests), {"pooled": X}, {"pooled": None})
        table = Items(ids, digests, np.where(splits > 2, -1, labels).astype(np.int32), splits)
        writer.finish(table, ["pooled"], [], None)
    bank = Bank(tmp_path / "bank")
    advice = fb.advise(bank, top=40)
    assert {one.image.label for one in advice.label_errors} == set(names)
    for text in (advice.write_page(tmp_path / "page.html").read_text(), advice._repr_html_() or ""):
        assert "<img src=x" not in text
        assert "<script>alert" not in text
        assert "&lt;img src=x" in text
    for name in ("label_errors", "queue"):
        rows = list(csv.reader(advice.write_csv(tmp_path / f"{name}.csv", name).read_text().splitlines()))
        assert not [cell for row in rows for cell in row if cell.startswith("=")]
        assert any(row[0].startswith("'=cmd") for row in rows)
    doubts = list(csv.reader((tmp_path / "label_errors.csv").read_text().splitlines()))
    edited = tmp_path / "edited.csv"
    with edited.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], *([row[0], row[2]] for row in doubts[1:])])
    done = fb.correct_labels(bank, edited)
    assert [(one.id, one.label) for one in done.changes] == [
        (one.image.id, one.suggested) for one in advice.label_errors if one.suggested != one.image.label
    ]
