"""The content of a report: sections, pictures and conclusions, from a bank of painted photos."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from immediate import PixelEngine

from featurebank import evaluate_test, extract, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.errors import DatasetError, HeadError
from featurebank.reporting.content import (
    BankReport,
    Board,
    Calibration,
    Confusions,
    DataDoubts,
    ImageMap,
    Mistakes,
    PerClass,
    Savings,
    WhatRan,
    Winner,
)
from featurebank.reporting.content_doubts import SetsAndAnswers
from featurebank.reporting.evidence import Answers, Evidence, key_of
from featurebank.reporting.gathering import gather_bank
from featurebank.reporting.sections.answers import (
    gather_calibration,
    gather_classes,
    gather_confusions,
    gather_mistakes,
)
from featurebank.reporting.sections.banks import gather_comparison
from featurebank.reporting.sections.board import gather_board
from featurebank.reporting.sections.certainty import gather_certainty
from featurebank.reporting.sections.doubts import gather_doubts
from featurebank.reporting.sections.runs import gather_what_ran, gather_winner
from featurebank.runs.run import RunRecord, load_runs
from featurebank.runs.selection import choose_run
from featurebank.words import percent

pytestmark = pytest.mark.heavy

Section = TypeVar("Section")
ORDER = [
    WhatRan,
    Winner,
    Board,
    Confusions,
    PerClass,
    Calibration,
    SetsAndAnswers,
    Mistakes,
    ImageMap,
    DataDoubts,
    Savings,
]


def section(report: BankReport, kind: type[Section]) -> Section:
    (found,) = (one for one in report.sections if isinstance(one, kind))
    return found


@pytest.fixture(scope="module")
def report(painted_bank: Bank) -> BankReport:
    return gather_bank(Evidence(painted_bank))


def facts(section: WhatRan | Winner | Savings) -> dict[str, str]:
    return {fact.name: fact.value for fact in section.facts}


def test_sections_have_the_order_of_the_page(report: BankReport) -> None:
    assert [type(one) for one in report.sections] == ORDER
    for one in report.sections:
        assert one.conclusion.sentence.endswith(".")
        assert "nan" not in one.conclusion.sentence


def test_what_was_run(report: BankReport, painted_bank: Bank) -> None:
    ran = section(report, WhatRan)
    assert (
        f"{len(painted_bank)} images of 3 classes went through efficientnet_lite0 once, in" in ran.conclusion.sentence
    )
    assert {split: sum(counts) for split, counts in ran.counts.items()} == {
        split: len(painted_bank.labels(split)) for split in ("train", "val", "test")
    }
    assert set(ran.samples) == set(painted_bank.classes)
    for name, numbers in ran.samples.items():
        assert {report.pictures[number].label for number in numbers} == {name}
    assert facts(ran)["bank"] == painted_bank.name


def test_the_winner_is_the_run_that_select_chooses(report: BankReport, painted_bank: Bank) -> None:
    winner = section(report, Winner)
    best = choose_run(load_runs(painted_bank))
    assert winner.run == best.run
    assert facts(winner)["validation accuracy"].startswith(percent(best.metrics["val"]["accuracy"]))
    assert "not opened" in facts(winner)["test accuracy"]
    alike = sum(row.indistinguishable for row in section(report, Board).rows if row.run != winner.run)
    assert len(winner.indistinguishable) + winner.more_indistinguishable == alike


def test_the_leaderboard_has_every_head_once(report: BankReport, painted_bank: Bank) -> None:
    board = section(report, Board)
    assert {row.run for row in board.rows} == {run.run for run in load_runs(painted_bank)}
    assert board.rows[0].run == section(report, Winner).run
    accuracies = [row.accuracy or 0 for row in board.rows]
    assert accuracies == sorted(accuracies, reverse=True)
    assert "alpha of ridge" in [name for name, *_ in board.axes]


def test_confusions_classes_and_mistakes_agree(report: BankReport) -> None:
    cells = section(report, Confusions).cells
    images = sum(cell.count for cell in cells)
    wrong = [cell for cell in cells if cell.true != cell.predicted]
    assert images == sum(row.images for row in section(report, PerClass).rows)
    assert sum(cell.count for cell in wrong) == len(section(report, Mistakes).rows)
    for row in section(report, PerClass).rows:
        assert row.recall is not None
        own = [
            cell.count for cell in cells if cell.true == cell.predicted and report_name(report, cell.true) == row.name
        ]
        assert sum(own) == round(row.recall * row.images)
    confidences = [row.probability for row in section(report, Mistakes).rows]
    assert confidences == sorted(confidences, reverse=True)


def report_name(report: BankReport, label: int) -> str:
    return section(report, Confusions).classes[label]


def test_each_picture_is_the_image(report: BankReport, painted_bank: Bank) -> None:
    ids = [picture.id for picture in report.pictures]
    assert len(ids) == len(set(ids)), "each image is there once"
    for picture in report.pictures:
        assert picture.image is not None
        assert picture.image.shape == (20, 24, 3)
    assert set(section(report, ImageMap).pictures) == set(painted_bank.ids("val"))


def test_the_wrong_labels_are_doubted_but_not_those_of_test_images(report: BankReport, painted_bank: Bank) -> None:
    doubts = section(report, DataDoubts)
    examined = [name for split in ("train", "val") for name in painted_bank.ids(split)]
    moved = {name for name in examined if "moved" in name}
    assert moved
    doubted = {report.pictures[error.picture].id for error in doubts.label_errors}
    assert doubted <= moved
    assert doubted
    assert {error.suggested for error in doubts.label_errors} == {"<script>alert('x')"}
    assert doubts.conclusion.sentence.startswith(f"{len(doubted)} of {len(examined)} labels")
    assert any("test images were not examined" in note for note in doubts.notes)


def test_what_the_bank_saved(report: BankReport, painted_bank: Bank) -> None:
    runs = len(load_runs(painted_bank))
    assert f"served {runs} heads" in section(report, Savings).conclusion.sentence


def test_images_that_are_gone_have_their_reason(
    copied_bank: Callable[[], Bank], painted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = copied_bank()
    gone, changed, broken = bank.ids("val")[:3]
    hidden = str(painted / "photos" / gone)
    from featurebank.dataset import pictures

    read = pictures.read_regular

    def reading(path: str, most: int) -> bytes:
        if path == hidden:
            raise FileNotFoundError(2, "gone", path)
        data = read(path, most)
        return data + b" " if path.endswith(changed) else data

    monkeypatch.setattr(pictures, "read_regular", reading)
    result = gather_bank(Evidence(bank))
    found = {picture.id: picture for picture in result.pictures}
    assert (found[gone].image, found[gone].reason) == (None, "the file is gone")
    assert (found[changed].image, found[changed].reason) == (None, pictures.CHANGED)
    assert found[broken].image is not None
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith(f"2 pictures of {len(found)} cannot be shown; the first: ")


def test_mistakes_have_heat_maps_where_these_cost_little(painted_bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first mistake has one here, and the others say why they have none."""
    evidence = Evidence(painted_bank)
    assert isinstance(evidence.answers, Answers)
    without = gather_mistakes(evidence, evidence.answers)
    assert {row.heat for row in without.rows} == {None}
    assert re.fullmatch(r"There are no heat maps: .+\.", without.heat_note)

    def maps(bank: Bank, run: RunRecord, positions: np.ndarray, classes: np.ndarray) -> list[np.ndarray | str]:
        hot = np.zeros((7, 7), np.float32)
        hot[:, :3] = 1
        return [hot, *["no map"] * (len(positions) - 1)]

    monkeypatch.setattr("featurebank.reporting.sections.heat.heat_maps", maps)
    first, *others = gather_mistakes(evidence, evidence.answers).rows
    photo = evidence.gallery.read()[first.picture].image
    assert first.heat is not None
    assert photo is not None
    assert first.heat.shape == photo.shape
    change = np.abs(first.heat.astype(int) - photo).mean(axis=(0, 2))
    assert change[4:9].min() > change[15:20].max(), "the left half is hot"
    assert {row.heat for row in others} <= {None}


def test_a_bank_without_images(make_bank: Callable[..., Bank]) -> None:
    """Its pictures have a reason, and everything else is there."""
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    result = gather_bank(Evidence(bank))
    assert [type(one) for one in result.sections] == ORDER
    assert {picture.reason for picture in result.pictures} == {"the bank does not say where its images are"}
    assert len(result.warnings) == 1
    assert "too few to choose a head by" in section(result, Winner).conclusion.sentence
    assert "not recorded" in section(result, Savings).conclusion.sentence


def test_images_of_arrays_are_shown(tmp_path: Path, lite: Backbone, pixels: list[PixelEngine]) -> None:
    bank = extract(load_dataset("digits", limit=60), lite, cache=tmp_path)
    train_heads(bank, [{"kind": "ridge"}])
    evidence = Evidence(bank)
    gather_what_ran(evidence)
    pictures = evidence.gallery.read()
    assert {picture.image.shape for picture in pictures if picture.image is not None} == {(8, 8, 3)}
    assert {picture.reason for picture in pictures} == {""}


def test_copies_in_several_splits_come_first(leaky_bank: Bank) -> None:
    """The folder has one image in two splits, and one that differs from another in a pixel."""
    train_heads(leaky_bank, [{"kind": "nearest_mean"}])
    evidence = Evidence(leaky_bank)
    doubts = gather_doubts(evidence)
    assert doubts is not None
    pictures = evidence.gallery.read()
    exact, *others = doubts.near
    assert exact.cosine == 1
    assert {pictures[number].id for number in (exact.first, exact.second)} == {
        "train/ant/same.png", "test/bee/same.png",
    }  # fmt: skip
    assert any(
        {"train/ant/near.png", "test/ant/nearly.png"} == {pictures[n].id for n in (pair.first, pair.second)}
        for pair in others
    )
    assert "1 image is in several splits, byte by byte." in doubts.notes


def test_a_bank_that_chance_rules(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(noise=500.0)
    train_heads(bank, [{"kind": "ridge", "alpha": [1e3, 1e6]}])
    evidence = Evidence(bank)
    assert "No head is clearly better than guessing" in gather_winner(evidence).conclusion.sentence
    doubts = gather_doubts(evidence)
    assert doubts is not None
    assert any("were not doubted" in note for note in doubts.notes)
    assert doubts.label_errors == []


def test_classes_without_images(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 20, 10), classes=25, width=32)
    train_heads(bank, [{"kind": "nearest_mean"}])
    evidence = Evidence(bank)
    assert isinstance(evidence.answers, Answers)
    result = gather_classes(evidence, evidence.answers)
    assert "Nothing is known about class20, class21, class22, class23 and 1 more" in result.conclusion.sentence
    assert [row.recall for row in result.rows[20:]] == [None] * 5


def test_many_classes_have_a_list_of_confusions(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(120, 80, 10), classes=40, width=40, noise=3.0)
    train_heads(bank, [{"kind": "nearest_mean"}])
    evidence = Evidence(bank)
    assert isinstance(evidence.answers, Answers)
    result = gather_confusions(evidence, evidence.answers)
    assert not result.whole
    counts = [cell.count for cell in result.cells]
    assert counts == sorted(counts, reverse=True)
    assert all(cell.true != cell.predicted for cell in result.cells)


@pytest.mark.parametrize(
    ("images", "right", "words"),
    [
        (40, 40, "chance explains such a difference"),  # nearly a third of heads this sure make no mistake on so few
        (4000, 4000, "too cautious"),
        (4000, 3880, "chance explains such a difference"),
        (4000, 3600, "over-confident"),
    ],
)
def test_probabilities_are_doubted_beyond_chance_alone(images: int, right: int, words: str) -> None:
    labels = (np.arange(images) >= right).astype(np.int32)
    answers = Answers(np.arange(images), labels, np.tile([0.97, 0.03], (images, 1)))
    assert words in gather_calibration(answers).conclusion.sentence


def test_sets_and_answers_are_measured_by_cross_fitting_until_the_test_split_is_opened(
    make_bank: Callable[..., Bank],
) -> None:
    bank = make_bank(splits=(60, 60, 40), noise=3.0)
    (run,) = train_heads(bank, [{"kind": "ridge"}])

    def doubts() -> SetsAndAnswers:
        evidence = Evidence(bank)
        assert isinstance(evidence.answers, Answers)
        found = gather_certainty(evidence, evidence.answers)
        assert found is not None
        assert f"have it for {percent(found.sets[2].coverage)}" in found.conclusion.sentence
        return found

    assert doubts().source == "60 images by cross-fitting on validation images"
    evaluate_test(bank, run)
    assert doubts().source == "40 images of the test split"


def test_folds_are_predicted_out_of_fold(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(splits=(60, 30, 0))
    train_heads(bank, [{"kind": "ridge"}], folds=3)
    evidence = Evidence(bank)
    assert "Validated on 3 folds" in gather_board(evidence).conclusion.sentence
    assert isinstance(evidence.answers, Answers)
    assert "whose training images the head was trained on once more" in evidence.answers.images
    for run in load_runs(bank):  # as if the grid had been interrupted
        if not run.fold:
            (bank.path / "runs" / f"{run.run}.json").unlink()
    evidence = Evidence(bank)
    answers = evidence.answers
    assert isinstance(answers, Answers)
    assert sorted(answers.positions.tolist()) == list(range(90))
    assert evidence.best is not None
    assert answers.right.mean() == pytest.approx(evidence.best.mean)
    sentence = gather_confusions(evidence, answers).conclusion.sentence
    assert "each predicted by the head that was not trained on it" in sentence


def failed(run: RunRecord) -> RunRecord:
    return dataclasses.replace(run, metrics={}, failure="out\nof memory", right=None, weights=None)


def test_a_bank_whose_runs_all_failed(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    for run in load_runs(bank):
        failed(run).save()
    result = gather_bank(Evidence(bank))
    assert [type(one) for one in result.sections] == [WhatRan, Winner, Board, ImageMap, DataDoubts, Savings]
    assert section(result, Winner).conclusion.sentence.endswith("The first reason: out of memory")
    (row,) = section(result, Board).rows
    assert (row.verdict, row.failure, row.accuracy) == ("failed", "out of memory", None)


def test_an_opened_test_is_shown_and_a_report_opens_none(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    key = key_of([Evidence(bank)])
    gather_winner(Evidence(bank))
    assert [run.tested for run in load_runs(bank)] == [None]
    assert key_of([Evidence(bank)]) == key
    evaluate_test(bank, load_runs(bank)[0])
    assert key_of([Evidence(bank)]) != key
    assert "95 % interval" in facts(gather_winner(Evidence(bank)))["test accuracy"]


def test_several_banks_are_compared(make_bank: Callable[..., Bank]) -> None:
    banks = [make_bank("one"), make_bank("other", noise=6.0), make_bank("third", seed=1)]
    for bank in banks:
        train_heads(bank, [{"kind": "ridge"}])
    pair = gather_comparison([Evidence(bank) for bank in (banks[1], banks[0])])
    assert pair is not None
    assert [(row.name, row.place) for row in pair.banks] == [("one", 1), ("other", 0)], "the best first, with its part"
    assert "one is better than other by" in pair.conclusion.sentence
    assert pair.board is not None
    assert [(row.values["bank"], row.values["bytes an image"]) for row in pair.board.rows] == [
        ("one", 32),
        ("other", 32),
    ]
    assert [name for name, _ in pair.board.by_cost] == ["bytes an image"], "neither bank has a speed in its history"
    assert "is ridge of one" in pair.board.conclusion.sentence
    unlike = gather_comparison([Evidence(bank) for bank in (banks[0], banks[2])])
    assert unlike is not None
    assert "not validated on the same images" in unlike.conclusion.sentence
    assert unlike.board is None


def test_what_cannot_be_reported_on(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    with pytest.raises(HeadError, match=r"has no runs to report on: train some with 'featurebank heads --bank bank"):
        Evidence(bank)
    train_heads(bank, [{"kind": "ridge"}])
    for run in load_runs(bank):
        dataclasses.replace(run, bank="0" * 32).save()
    with pytest.raises(HeadError, match=r"has 1 run, but of another state of it"):
        Evidence(bank)
    with pytest.raises(DatasetError, match=r"has no validation image"):
        Evidence(make_bank("none", splits=(30, 0, 5)))
    with BankWriter(bank.path.with_name("unlabelled"), {"backbone": "net"}, {"name": "made", "classes": []}) as writer:
        none = np.empty(0, np.uint8)
        writer.finish(Items([], np.empty(0, "S32"), none, none), ["pooled"], [], None)
    with pytest.raises(DatasetError, match=r"holds images without labels, so there is nothing to report on"):
        Evidence(Bank(bank.path.with_name("unlabelled")))


def test_umap_is_drawn_where_it_is_installed(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one is in tests/charts/test_projection.py: here, its compiling would be all that takes time."""
    drawn = []

    def project(features: np.ndarray, method: str) -> np.ndarray:
        drawn.append(method)
        return features[:, :2]

    monkeypatch.setattr("featurebank.reporting.sections.drawings.project", project)
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    for installed, names in ((False, ["PCA", "t-SNE"]), (True, ["PCA", "t-SNE", "UMAP"])):
        monkeypatch.setattr("featurebank.reporting.sections.drawings.has_umap", lambda installed=installed: installed)
        assert [name for name, _ in section(gather_bank(Evidence(bank)), ImageMap).charts] == names
    assert drawn == ["pca", "tsne", "pca", "tsne", "umap"]


def test_points_of_large_banks_are_sampled(make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POINTS", "WITH_UMAP"):
        monkeypatch.setattr(f"featurebank.reporting.sections.plane.{name}", 20)
    monkeypatch.setattr("featurebank.reporting.sections.plane.PICTURES", 8)
    monkeypatch.setattr("featurebank.reporting.sections.doubts.MOST_PRODUCTS", 1000)
    monkeypatch.setattr("featurebank.reporting.sections.doubts.most_images", lambda width, classes: 30)
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    result = gather_bank(Evidence(bank))
    plane = section(result, ImageMap)
    assert len(plane.pictures) == 8
    assert plane.conclusion.sentence.endswith(
        "The map shows 20 images, a random sample of 30. 8 images of them have a picture."
    )
    notes = section(result, DataDoubts).notes
    assert notes[0] == "The labels of 30 images were examined, a random sample of 90."
    assert "were compared with each other, a random sample of 120" in notes[3]


def test_the_limit_of_memory_bounds_what_is_compared(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_bank()
    train_heads(bank, [{"kind": "ridge"}])
    row_bytes = 4 * bank.tap_shape("pooled")[0]
    monkeypatch.setattr("featurebank.reporting.sections.doubts.ram_limit", lambda: 2 * 40 * row_bytes)
    notes = section(gather_bank(Evidence(bank)), DataDoubts).notes
    assert notes[0] == "The labels of 40 images were examined, a random sample of 90."
    assert any(note.startswith("40 images were compared with each other, a random sample of 120") for note in notes)
