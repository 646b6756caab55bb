"""What notebooks show: one line of text, and HTML that no name can break, that reads little, and that never fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import featurebank as fb
from featurebank.dataset.pictures import local_paths, thumbnails_of
from featurebank.grafting.evaluation import Evaluation
from featurebank.grafting.metadata import About
from featurebank.grafting.prediction import LoadedModel, Prediction
from featurebank.grafting.side_by_side import JoinedModel
from featurebank.system.html import (
    Bar,
    Bars,
    CellTable,
    LineChart,
    Pictures,
    class_bars,
    data_uri,
    never_fails,
    picture,
    render,
)

pytestmark = pytest.mark.heavy

HOSTILE = "<script>alert('&')</script>\"'><img src=x onerror=a()>\u202etxt\n{{ 7 * 7 }}"
TAGS = {"div", "span", "b", "img", "table", "tr", "th", "td", "svg", "line", "polyline"}
ATTRIBUTES = {
    "style", "title", "src", "alt", "width", "height", "viewbox", "x1", "x2", "y1", "y2", "points", "fill", "stroke",
    "stroke-width", "stroke-opacity", "stroke-dasharray",
}  # fmt: skip


class Structure(HTMLParser):
    """The tags of a text with the names of their attributes, its words, and its pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.open: list[str] = []
        self.words = ""
        self.sources: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))
        assert tag in TAGS
        assert {name for name, _ in attrs} <= ATTRIBUTES
        self.sources += [value or "" for name, value in attrs if name == "src"]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def structure(text: str) -> Structure:
    found = Structure(text)
    assert not found.open, "every element is closed"
    assert all(source.startswith("data:image/") for source in found.sources)
    return found


def shown(thing: Any) -> Structure:
    """The display of an object; an error in it is not hidden."""
    return structure(type(thing)._repr_html_.__wrapped__(thing))


def everything(text: str) -> str:
    image = np.zeros((9, 5, 3), np.uint8)
    bar = Bar([("train", 0.5, text)], text)
    return render(
        text, facts=[text], notes=[text], warnings=[text],
        blocks=[
            Bars([(text, bar)], text, text), Pictures([picture(image, text, text), picture(None, text)], text),
            CellTable([text], [[text], [bar], [picture(image, text)]], text, text),
            LineChart({text: [0.5, 1.0]}, text, mark=2), class_bars([text], {text: [3]}, text), None,
        ],
    )  # fmt: skip


@given(st.text(min_size=1) | st.just(HOSTILE))
def test_no_text_changes_the_structure(text: str) -> None:
    assert structure(everything(text)).tags == structure(everything("a")).tags


def test_texts_are_shown_as_they_are() -> None:
    words = structure(render("<b>&amp;</b>")).words.strip()
    assert words == "<b>&amp;</b>"
    assert "\\u202e" in structure(render(HOSTILE)).words, "no name turns the direction of the page"


@pytest.mark.parametrize("values", [[], [0.5], [np.nan, 1.0], [np.inf, -np.inf], [1.0, 1.0], [0.1, None]])
def test_curves_of_any_values(values: list[Any]) -> None:
    text = render("a", blocks=[LineChart({"accuracy": values, "val_accuracy": [0.5, 0.6]}, mark=1)])
    structure(text)
    assert "nan" not in text
    assert "inf" not in text


def test_a_bar_is_never_longer_than_its_row() -> None:
    text = render("a", blocks=[Bars([("b", Bar([("val", 1.7, ""), ("val", -1.0, "")]))])])
    assert "width:100.00%" in text
    assert "width:0.00%" in text


def test_pictures_are_small() -> None:
    random = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    assert len(data_uri(random, 144)) < 30_000
    assert data_uri(random[:8, :8]).startswith("data:image/png;")


def test_a_display_that_fails_gives_way_to_the_text() -> None:
    class Broken:
        @never_fails
        def _repr_html_(self) -> str:
            raise MemoryError

    assert Broken()._repr_html_() is None


@pytest.fixture
def run(leaky_bank: fb.Bank) -> Any:
    return fb.train_heads(leaky_bank, [{"kind": "nearest_mean"}, {"kind": "softmax", "epochs": 2}])[0]


def test_a_dataset_with_hostile_names(leaky: Path) -> None:
    dataset = fb.load_dataset(str(leaky))
    display = shown(dataset)
    assert not dataset.is_fingerprinted, "no image was read but those that are shown"
    assert len(display.sources) == 2
    dataset.fingerprint()
    assert "train" in shown(dataset).words
    shutil.rmtree(leaky)
    assert not shown(dataset).sources, "grey boxes"


def test_arrays_have_pictures_and_remote_images_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(shown(fb.load_dataset("digits")).sources) == 8
    assert len(shown(fb.load_dataset("digits", limit=90)).sources) == 8, "of a subset, too"

    def fetch(*_: Any) -> bytes:
        raise AssertionError("an image was downloaded")

    monkeypatch.setattr("featurebank.dataset.sources.paths.fetch", fetch)
    (tmp_path / "a.csv").write_text("path,label\nhttps://example.org/1.jpg,ant\nhttps://example.org/2.jpg,bee\n")
    dataset = fb.load_dataset(str(tmp_path / "a.csv"))
    assert "2 images" in shown(dataset).words
    assert thumbnails_of(dataset, [0]) == [None]


def test_a_bank_reads_no_feature(leaky_bank: fb.Bank, leaky: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.bank.rows.StoredRows.read", None)
    display = shown(leaky_bank)
    assert len(display.sources) == 2
    assert leaky_bank.name in display.words
    assert "1 image without features" in display.words
    shutil.rmtree(leaky)
    assert not shown(leaky_bank).sources


def test_a_run_shows_curves_and_wrong_images(leaky_bank: fb.Bank, run: Any) -> None:
    for one in fb.leaderboard(leaky_bank):
        display = shown(one)
        assert one.run in display.words
        assert ("polyline" in {tag for tag, _ in display.tags}) == (one.head == "softmax")
        assert ("with their true class" in display.words) == (one.metrics["val"]["accuracy"] < 1)
    shutil.rmtree(leaky_bank.path)
    assert run.run in shown(run).words, "without its bank"


def test_a_leaderboard_and_its_parts(leaky_bank: fb.Bank, run: Any) -> None:
    board = fb.leaderboard(leaky_bank)
    assert "nearest_mean" in shown(board).words
    assert "softmax" in shown(board).words
    assert shown(board[:1]).tags
    assert shown(board[:0]).tags


def test_a_leaderboard_shows_the_metric_that_ranks_it(leaky_bank: fb.Bank, run: Any) -> None:
    board = fb.leaderboard(leaky_bank, metric="log_loss")
    display, first = shown(board), board.entries[0]
    assert "ranked by loss" in display.words
    assert f"{first.value:.4f}" in display.words
    assert "ranked by" not in shown(fb.leaderboard(leaky_bank)).words


def test_parameters_that_all_heads_of_a_kind_share_are_said_once(make_bank: Callable[..., fb.Bank]) -> None:
    board = fb.train_heads(make_bank(), [{"kind": "knn", "n_neighbors": [1, 3], "weights": "distance"}, "ridge"])
    assert "common to these rows: weights=distance (knn)" in shown(board).words


def test_failed_runs_are_shown(make_bank: Callable[..., fb.Bank]) -> None:
    board = fb.train_heads(make_bank(), [{"kind": "knn", "n_neighbors": 1000}, {"kind": "ridge"}])
    assert "1 run failed" in shown(board).words
    assert "failed: " in shown(board[-1]).words


def test_an_inspection_shows_its_advice(leaky: Path) -> None:
    report = fb.inspect_dataset(fb.load_dataset(str(leaky)))
    display = shown(report)
    assert "equal images" in display.words
    assert "in more than one split" in display.words
    assert display.sources


def test_predictions_and_confusion_matrices(run: Any) -> None:
    table = run.predictions()
    assert shown(table).sources
    assert shown(table[:0]).tags
    assert "bee" in shown(table.confusion_matrix()).words


def test_reprs_are_one_line(leaky: Path, leaky_bank: fb.Bank, run: Any) -> None:
    about = About(("ant",), 224, "crop", {"backbone": "resnet50"}, "pooled", "softmax", "0" * 32, format="onnx")
    evaluation = Evaluation(3, 0.5, (0.1, 0.9), 1.0, 0.5, (), np.zeros((1, 1), np.int64), (("a", "b"),))
    things = [
        run, leaky_bank, fb.load_dataset(str(leaky)), fb.load_backbone("resnet50"), fb.leaderboard(leaky_bank),
        LoadedModel(np.zeros, about), JoinedModel(None, None, about), Prediction("a.jpg", "ant", 0.7),
        Prediction("b.jpg", error="broken\nfile"), evaluation, fb.inspect_dataset(fb.load_dataset(str(leaky))),
        run.history,
    ]  # fmt: skip
    for thing in things:
        assert repr(thing).startswith(tuple(f"<{kind.__name__}" for kind in type(thing).__mro__))
        assert len(repr(thing).splitlines()) == 1
        assert len(repr(thing)) < 250


def test_paths_come_from_the_specification(tmp_path: Path) -> None:
    assert local_paths("folder:/a#layout=classes", ["b/1.jpg"]) == ["/a/b/1.jpg"]
    assert local_paths("manifest:/a/b.csv#path=file", ["1.jpg", "/c/2.jpg", "https://d/3.jpg"]) == [
        "/a/1.jpg", "/c/2.jpg", None,
    ]  # fmt: skip
    assert local_paths("manifest:s3://a/b.csv", ["1.jpg"]) == [None]
    assert local_paths("cifar10", ["7"]) == [None]
