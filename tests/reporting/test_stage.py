"""A report as a file: where it is written, what it replaces, and what it never leaves behind."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from featurebank import train_heads
from featurebank.api.report import report
from featurebank.bank import Bank
from featurebank.errors import ConfigError, DiskFullError, HeadError, WrongTypeError
from featurebank.reporting.content import ReportContent
from featurebank.reporting.evidence import Evidence, key_of
from featurebank.reporting.stage import ReportOptions, report_key, run_report
from featurebank.system.progress import Reporter


def test_a_report_is_one_page_that_knows_what_it_was_made_from(painted_bank: Bank, tmp_path: Path) -> None:
    written = report(painted_bank, tmp_path / "page.html")
    text = written.path.read_text(encoding="utf-8")
    assert written.bytes == len(text.encode()) == written.path.stat().st_size
    assert written.banks == (painted_bank.name,)
    assert report_key(written.path) == key_of([Evidence(painted_bank)])
    assert "<script>alert" not in text
    assert os.listdir(tmp_path) == ["page.html"]  # noqa: PTH208 - hidden files, too
    assert re.fullmatch(r"<WrittenReport .*page.html: 1\.\d MB on 1 bank, in \d+\.\d s>", repr(written))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("there.html", "'.*there.html' exists: choose another path, or replace it with --force"),
        ("page.txt", "expected a name that ends with .html"),
        ("missing/page.html", "there is no folder '.*missing'; create it"),
        ("folder.html", "it is a folder; choose another path"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_before_anything_is_read(
    make_bank: Callable[..., Bank], tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ConfigError, match=message):
        report(make_bank(), tmp_path / name)  # a bank without runs: its own error would come later
    assert (tmp_path / "there.html").read_text() == "mine"


def test_a_read_only_folder_is_refused(
    make_bank: Callable[..., Bank], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featurebank.system.files.os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(ConfigError, match="is read-only"):
        report(make_bank(), tmp_path / "page.html")


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have no sections, so that tests of their files are quick."""

    def gather(banks: Sequence[Evidence], reporter: Reporter) -> ReportContent:
        return ReportContent("Empty", "", "", [], key=key_of(banks))

    monkeypatch.setattr("featurebank.reporting.gathering.gather", gather)


@pytest.mark.usefixtures("empty")
def test_force_replaces_a_file(painted_bank: Bank, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    assert report(painted_bank, tmp_path / "page.html", force=True).written
    assert report_key(tmp_path / "page.html") is not None


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_report_leaves_no_file(
    painted_bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(self: Path, data: bytes) -> None:
        with self.open("wb") as file:
            file.write(data[:100])
        raise error

    monkeypatch.setattr("featurebank.reporting.page.render_page", lambda content: content.title)
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises((KeyboardInterrupt, DiskFullError)):
        report(painted_bank, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("empty")
def test_an_update_replaces_its_own_report_only_if_something_changed(
    make_bank: Callable[..., Bank], tmp_path: Path
) -> None:
    bank, options = make_bank(), ReportOptions(output=str(tmp_path / "page.html"))
    train_heads(bank, [{"kind": "ridge"}])

    def update() -> bool:
        return run_report([bank], options, update=True).written

    assert update()
    assert not update()
    train_heads(bank, [{"kind": "nearest_mean"}])
    assert update()
    assert not update()
    (tmp_path / "page.html").write_text("<html>mine")
    with pytest.raises(ConfigError, match="exists and is no report of featurebank"):
        update()


@pytest.mark.usefixtures("empty")
def test_repeated_banks_count_once(painted_bank: Bank, tmp_path: Path) -> None:
    assert report([painted_bank, painted_bank.path], tmp_path / "page.html").banks == (painted_bank.name,)


def test_wrong_arguments_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(WrongTypeError, match="banks is 3: expected a Bank, its name or its path, or a list of these"):
        report(3, tmp_path / "page.html")  # type: ignore[arg-type]
    with pytest.raises(WrongTypeError, match="banks is"):
        report([], tmp_path / "page.html")


def test_a_bank_without_runs_says_what_to_run(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    with pytest.raises(HeadError, match="train some with 'featurebank heads"):
        report(make_bank(), tmp_path / "page.html")


def test_long_work_is_named(painted_bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Steps(Reporter):
        def __init__(self) -> None:
            self.names: list[str] = []

        def step(self, what: str) -> object:  # type: ignore[override]
            self.names.append(what)
            return super().step(what)

    def title(content: ReportContent) -> str:
        return content.title

    monkeypatch.setattr("featurebank.reporting.page.render_page", title)
    steps = Steps()
    report(painted_bank, tmp_path / "page.html", reporter=steps)
    images = len(painted_bank.labels("val"))
    assert steps.names == [
        "reading the runs of 1 bank", f"predicting {images} validation images with the chosen head",
        "drawing the map of the validation images", "looking for wrong labels", "writing page.html",
    ]  # fmt: skip
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "Report on photos, efficientnet_lite0"


@pytest.mark.networks
@pytest.mark.heavy
def test_a_report_on_a_network_of_pytorch(tmp_path: Path) -> None:
    """PyTorch, TensorFlow and the painter of charts are in one process then; it once ended without a word."""
    from tiny_torch import TinyTokens, tiny_torch

    from featurebank import extract, load_dataset

    bank = extract(load_dataset("digits", per_class=6), tiny_torch(TinyTokens), ["pooled", "map"], cache=tmp_path)
    train_heads(bank, [{"kind": "softmax", "epochs": 1}, {"kind": "knn"}, {"kind": "cam", "epochs": 1, "tap": "map"}])
    written = report(bank, tmp_path / "page.html")
    assert report_key(written.path) == key_of([Evidence(bank)])
