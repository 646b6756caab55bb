"""The ledger of test images: it remembers the images, whatever else has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listener import Listener

from featurebank import evaluate_test, train_heads
from featurebank.bank import Bank
from featurebank.bank.items import Items
from featurebank.bank.writer import BankWriter
from featurebank.dataset.splits import SPLITS
from featurebank.runs.openings import DIRECTORY, record_opening
from featurebank.runs.run import RunRecord, load_runs

MakeBank = Callable[..., Bank]
CHEAP: list[dict[str, Any]] = [{"kind": "nearest_mean"}, {"kind": "ridge"}]


def opened(bank: Bank, which: int = 0) -> tuple[RunRecord, list[str]]:
    """Trains two heads, opens the test split for one of them, and returns it with the warnings."""
    listener = Listener()
    run = sorted(train_heads(bank, CHEAP), key=lambda run: run.head)[which]
    return evaluate_test(bank, run, reporter=listener), listener.warned


def with_items(bank: Bank, change: Callable[[Items], Items]) -> Bank:
    """The bank after an extraction that found other images, names or splits."""
    numbers = np.array([SPLITS.index(name) for name in bank.splits()], np.uint8)
    items = Items(bank.ids(), bank.digests(), bank.labels(), numbers)
    with BankWriter(bank.path, bank.recipe, bank.manifest.dataset) as to:
        to.finish(change(items), bank.taps, [], None)
    return Bank(bank.path)


def test_the_first_time_nothing_is_said(make_bank: MakeBank) -> None:
    run, warned = opened(make_bank())
    assert warned == []
    assert (run.metrics["test"]["opened_before"], run.metrics["test"]["images_opened_before"]) == (0, 0)


@pytest.mark.parametrize("change", ["one image less", "renamed", "another split", "relabelled"])
def test_images_are_remembered_in_another_state_of_the_bank(make_bank: MakeBank, change: str) -> None:
    bank = make_bank()
    first, _ = opened(bank)

    def changed(items: Items) -> Items:
        if change == "one image less":
            return items.select(np.flatnonzero(items.digests != bank.digests("test")[0]))
        if change == "renamed":
            return replace(items, ids=[f"new/{name}" for name in items.ids])
        if change == "relabelled":
            return replace(items, labels=(items.labels + 1) % 3)
        splits = items.splits.copy()
        splits[np.flatnonzero(splits == 2)[:20]] = 0
        return replace(items, splits=splits)

    _, warned = opened(with_items(bank, changed), 1)
    count = {"one image less": 29, "another split": 10}.get(change, 30)
    assert warned == [
        f"all {count} test images were opened once before, for {first.run}, last on {str(first.tested)[:10]}: results "
        "of a head that was selected by its test result are too good; report those of the first"
    ]


def test_the_run_itself_is_no_opening_before(make_bank: MakeBank) -> None:
    """Renamed images: the run is the same one, and its result stands."""
    bank = make_bank()
    first, _ = opened(bank)
    renamed = with_items(bank, lambda items: replace(items, ids=[f"new/{name}" for name in items.ids]))
    assert opened(renamed) == (first, [])


def test_images_are_remembered_in_another_bank(make_bank: MakeBank) -> None:
    """Another network, or the same images under another name; of new images beside them, the old ones are counted."""
    first, _ = opened(make_bank())
    second, warned = opened(make_bank("other", splits=(60, 20, 40)))
    assert warned[0].startswith(f"30 of 40 test images were opened once before, for {first.run}, last on ")
    assert (second.metrics["test"]["opened_before"], second.metrics["test"]["images_opened_before"]) == (1, 30)
    _, warned = opened(make_bank("third"), 1)
    assert warned[0].startswith("all 30 test images were opened 2 times before, for ")
    assert opened(make_bank("fourth", seed=1))[1] == [], "these are other images"


def test_a_test_that_was_killed_is_remembered(make_bank: MakeBank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make_bank()
    with monkeypatch.context() as patch:
        patch.setattr(
            "featurebank.runs.selection.scores_with_intervals", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            opened(bank)
    assert not any(run.tested for run in load_runs(bank))
    assert opened(bank)[1] == [], "the same run goes on"
    assert opened(bank, 1)[1][0].startswith("all 30 test images were opened once before")


def test_what_an_earlier_version_tested(make_bank: MakeBank) -> None:
    """Its runs say that they were tested, and there is no ledger; of older states the images are not known."""
    bank = make_bank()
    first, _ = opened(bank)
    for path in (bank.path.parent / DIRECTORY).iterdir():
        path.unlink()
    assert opened(bank, 1)[1][0].startswith(f"all 30 test images were opened once before, for {first.run}, last on ")
    for path in (bank.path.parent / DIRECTORY).iterdir():
        path.unlink()
    other = with_items(bank, lambda items: replace(items, labels=(items.labels + 1) % 3))
    (warning,) = opened(other)[1]
    assert warning.startswith("2 earlier openings of this bank's test split, for ")
    assert "may have shown some of them: results of a head" in warning


def test_a_cache_that_cannot_be_written(make_bank: MakeBank, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = make_bank()
    train_heads(bank, CHEAP)

    def refused(path: Path, *_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("featurebank.runs.openings.write_bytes", refused)
    monkeypatch.setattr("featurebank.runs.run.write_sealed", refused)
    run, warned = opened(bank)
    assert run.metrics["test"]["accuracy"] > 0.9
    assert [line.partition(" (Permission denied)")[2] for line in warned] == [
        ": later tests will not know about this one",
        ": note it down",
    ]


def test_a_damaged_file_is_told_or_mended(make_bank: MakeBank) -> None:
    bank = make_bank()
    opened(bank)
    (images,) = (bank.path.parent / DIRECTORY).glob("*.images")
    images.write_bytes(b"\0" * 240)
    (damaged,) = opened(make_bank("other", splits=(60, 20, 40)))[1]
    assert "is damaged (the file with the images is missing or was changed)" in damaged
    assert len(opened(bank, 1)[1]) == 1, "its images were written again"
    for entry in (bank.path.parent / DIRECTORY).glob("*.json"):
        entry.write_text(entry.read_text()[:40])
    assert sum("is damaged" in line for line in opened(make_bank("third"))[1]) == 3


def test_images_take_eight_bytes_and_are_kept_once(make_bank: MakeBank) -> None:
    bank = make_bank()
    for run in train_heads(bank, CHEAP):
        record_opening(bank, run)
        record_opening(bank, run)
    files = sorted((bank.path.parent / DIRECTORY).iterdir())
    assert sorted(path.suffix for path in files) == [".images", ".json", ".json"]
    assert [path.stat().st_size for path in files if path.suffix == ".images"] == [8 * 30]
