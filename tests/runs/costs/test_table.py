"""The costs of runs, from the history of their banks, and what has to be said about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurebank import leaderboard, train_heads
from featurebank.bank import Bank
from featurebank.bank.writer import BankWriter
from featurebank.runs.costs import speed
from featurebank.runs.costs.table import EXTRACTION, HERE, Cost, CostTable
from featurebank.runs.run import RunRecord

Add = Callable[..., RunRecord]
PASS = {"time": "2026-01-01T00:00:00Z", "computed": 100, "added": 100, "processor": "fast", "threads": 2}


@pytest.fixture
def add(make_bank: Callable[..., Bank]) -> Add:
    """Makes a bank with a history, and returns a run of it."""

    def added(name: str, *events: dict[str, Any], **options: Any) -> RunRecord:
        bank = make_bank(name, backbone=name, **options)
        with BankWriter(bank.path, bank.recipe, bank.manifest.dataset) as writer:
            for event in events:
                writer.note({**PASS, **event})
        return train_heads(Bank(bank.path), "nearest_mean")[0]

    return added


def test_a_plain_extraction_has_seconds_and_images_a_second(add: Add) -> None:
    runs = [
        add("slow", {"seconds": 50.0, "busy": {"load": 0.2}}),
        add("fast", {"seconds": 10.0}, {"seconds": 14.0, "computed": 20, "time": "2026-01-02T00:00:00Z"}),
    ]
    table = CostTable(runs)
    assert table.of(runs[0]) == Cost(0.5, 32, 2.5, EXTRACTION), "loading the network is no part of the use"
    assert table.of(runs[1]) == Cost(0.2, 32, 5.0, EXTRACTION)
    assert list(table.labels.values()) == ["slow", "fast"]
    assert table.remarks()[0] == "images/s: recorded by the extraction of each bank, with all of its taps"


def test_a_shared_pass_tells_no_speed_of_one_network(add: Add) -> None:
    runs = [add("a", {"seconds": 50.0}), add("b", {"seconds": 50.0}), add("c", {"seconds": 51.0, "networks": 2})]
    table = CostTable(runs)
    assert [table.of(run).images_per_second for run in runs] == [None] * 3
    assert table.remarks()[0].startswith("s/image of 3 banks: of a pass of several networks")


def test_the_own_seconds_of_networks_that_shared_a_pass_are_their_speeds(add: Add) -> None:
    own = [{"network": {"seconds": seconds, "load_seconds": 1.0}} for seconds in (10.0, 40.0)]
    runs = [add(name, {"seconds": 51.0, "networks": 2, **one}) for name, one in zip("ab", own, strict=True)]
    table = CostTable(runs)
    assert [table.of(run).images_per_second for run in runs] == [10.0, 2.5]
    assert table.remarks()[0].startswith("s/image of 2 banks: of a pass of several networks")
    assert table.remarks()[1].startswith("images/s: recorded by the extraction of each bank")


def test_unlike_machines_are_said(add: Add) -> None:
    runs = [add("a", {"seconds": 50.0}), add("b", {"seconds": 51.0, "processor": "other"})]
    assert "on machines that differ or are not known" in CostTable(runs).remarks()[0]


def test_a_speed_counts_only_if_all_were_measured_on_this_machine(add: Add, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [add("a", {"seconds": 50.0}), add("b", {"seconds": 25.0})]
    monkeypatch.setattr(speed, "measure_use", lambda bank, tap, reporter: 12.5 if bank.name == "a" else 40.0)
    speed.measure_speeds([(Bank(runs[0].directory), "pooled")])
    assert [CostTable(runs).of(run).images_per_second for run in runs] == [2.0, 4.0]
    speed.measure_speeds([(Bank(run.directory), "pooled") for run in runs])
    table = CostTable(runs)
    assert [table.of(run).images_per_second for run in runs] == [12.5, 40.0]
    assert table.of(runs[0]).images_per_second_from == HERE
    assert table.remarks() == ["images/s: measured on this machine, from image files to the features of the tap"]
    monkeypatch.setattr(speed, "processor", lambda: "another machine")
    assert [CostTable(runs).of(run).images_per_second for run in runs] == [2.0, 4.0]


def test_a_bank_without_a_history_or_that_is_gone_has_unknown_costs(add: Add, tmp_path: Path) -> None:
    run = add("bare")
    assert CostTable([run]).of(run) == Cost(None, 32, None, None)
    (run.directory / "manifest.json").rename(tmp_path / "away")
    assert CostTable([run]).of(run) == Cost()
    assert CostTable([run]).labels == {run.directory: "bare"}


def test_all_rows_have_the_bank_and_the_costs(add: Add) -> None:
    runs = [add("a", {"seconds": 50.0}), add("b", {"seconds": 25.0})]
    board = leaderboard([run.directory for run in runs])
    frame = board.to_frame()
    assert set(frame["bank"]) == {"a", "b"}
    assert sorted(frame["seconds_per_image"]) == [0.25, 0.5]


def test_a_joined_tap_has_the_bytes_of_its_parts_and_hides_no_measured_speed(
    joined_banks: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = joined_banks()
    plain, joined = (train_heads(bank, "ridge", taps=[tap])[0] for tap in ("pooled", "pooled+vit:cls+columns:age,site"))
    monkeypatch.setattr(speed, "measure_use", lambda bank, tap, reporter: 12.5)
    speed.measure_speeds([(bank, run.tap) for run in (plain, joined)])
    table = CostTable([plain, joined])
    assert table.of(joined) == Cost(bytes_per_image=4 * (8 + 5))
    assert table.of(plain).images_per_second == 12.5
    (bank.path.parent / "vit-bank" / "manifest.json").unlink()
    assert CostTable([plain, joined]).of(joined) == Cost(), "a part is gone"
