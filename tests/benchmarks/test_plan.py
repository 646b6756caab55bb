"""A plan is arithmetic on measured figures, and the advice names the cause that the numbers have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.scale.advice import advice, bottleneck
from benchmarks.scale.options import count
from benchmarks.scale.pieces import piece_sizes
from benchmarks.scale.plan import PlanLine, Wanted, make_plan, measured_of, one_machine, readable_seconds
from benchmarks.scale.simulation import Assumed, simulate

RESULTS: dict[str, Any] = {
    "bank": {
        "rows": 1_000_000, "table_bytes": 70_000_000, "open_bank": {"rows": 1_000_000, "peak_bytes": 250_000_000},
        "list_cache": {"peak_bytes": 50_000_000},
        "add_shards": {"listing_seconds": 0.1, "open_seconds": 0.0},
    },
    "workers": [{
        "network": "net", "engine": "openvino", "precision": "float32", "threads": 1, "piece_images": 100,
        "piece_seconds": [1.0, 1.0], "load_seconds": 2.0, "read_bytes": 100_000.0, "digests_per_second": 10_000.0,
        "key_bytes": 33, "listing_seconds_a_piece": 0.001, "row_bytes": {"pooled": 967, "map": 9967},
    }],
    "heads": [
        {"head": "ridge", "failure": None, "seconds_a_million": 3.6, "threads": 2, "rows": 140_000, "width": 256},
        {"head": "knn", "failure": "it needs memory", "seconds_a_million": 0, "threads": 2, "rows": 1, "width": 256},
    ],
}  # fmt: skip
WANTED = Wanted(images=10**9, workers=10, core_hour=0.1, terabyte_month=20.0, months=2.0, million_reads=0.4)
CALM = Assumed(slowed=0.0, failures_per_hour=0.0, disk_bytes_per_second=1e12, digests_known=True)


def line(plan: list[PlanLine], what: str) -> PlanLine:
    (found,) = [one for one in plan if what in one.what]
    return found


def test_a_plan_multiplies_rates_by_images_and_prices() -> None:
    plan = make_plan(RESULTS, WANTED, CALM)
    assert line(plan, "the images").amount == "100.00 TB"
    assert line(plan, "digests").amount == "27.8 h"
    assert line(plan, "reads").price == pytest.approx(2 * 1000 * 0.4)
    assert line(plan, "the images").price == pytest.approx(100 * 20 * 2)
    assert line(plan, "table").amount == "0.07 TB"
    assert line(plan, "features of pooled").amount == "1.00 TB"
    assert line(plan, "features of map").amount == "10.00 TB"
    assert line(plan, "one worker alone").amount == "2,778 h"
    assert line(plan, "10 workers").price == pytest.approx(1e9 / 100 / 3600 * 0.1, rel=0.02)
    assert line(plan, "ridge").amount == "0.70 h on one machine"
    assert line(plan, "ridge").price == pytest.approx(0.7 * 2 * 0.1)
    assert line(plan, "memory").amount == "200.1 GB"
    assert not any("knn" in one.what for one in plan)


def test_pieces_are_those_of_an_extraction() -> None:
    assert piece_sizes(10**7, 1000).max() == 4096
    assert piece_sizes(10**7, 1000).sum() == 10**7
    assert len(piece_sizes(64 * 500, 1000)) == 64
    assert piece_sizes(10**7, 1 << 20).max() == 128


@pytest.mark.parametrize(
    ("cause", "changes", "assumed", "images"),
    [
        ("digests", {"digests_per_second": 200.0}, {"digests_known": False}, 10**6),
        ("disk", {}, {"disk_bytes_per_second": 5e7}, 10**7),
        ("no pieces", {"load_seconds": 0.0}, {}, 10**4),
        ("load", {"load_seconds": 1000.0}, {}, 10**5),
        ("slow workers", {}, {"slowed": 0.9}, 10**7),
        ("failures", {}, {"failures_per_hour": 20.0, "restart_seconds": 600.0}, 10**7),
        ("listing", {"listing_seconds": 3000.0}, {}, 10**5),
    ],
)
def test_the_advice_names_the_largest_cause(
    cause: str, changes: dict[str, float], assumed: dict[str, Any], images: int
) -> None:
    measured = replace(measured_of(RESULTS["workers"][0], RESULTS["bank"]), **changes)
    world = replace(CALM, **assumed)
    sizes = piece_sizes(images, 1000)
    outcomes = [simulate(measured, world, sizes, workers) for workers in (1, 8, 64, 128)]
    found = bottleneck(outcomes)
    assert found is not None
    assert found[1] == cause
    lines = advice(outcomes, measured, world, len(sizes))
    assert f"{found[0].workers} " in lines[0]
    assert f"{found[0].lost[cause]:.0%}" in lines[1] or cause == "disk"


def test_without_a_bottleneck_nothing_is_advised() -> None:
    measured = replace(measured_of(RESULTS["workers"][0], RESULTS["bank"]), load_seconds=0.0)
    outcomes = [simulate(measured, CALM, piece_sizes(10**7, 1000), workers) for workers in (1, 2)]
    assert bottleneck(outcomes) is None
    assert advice(outcomes, measured, CALM, 2442) == ["No bottleneck up to 2 workers: they reach 100% of their sum."]


def test_counts_may_be_written_as_people_write_them() -> None:
    import argparse

    assert [count("1e9"), count("10_000_000"), count("7")] == [10**9, 10**7, 7]
    for wrong in ("0", "-3", "1.5", "many", "inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="whole number"):
            count(wrong)


def test_one_machine_takes_its_cores_times_a_worker() -> None:
    assert one_machine(RESULTS, 10**6, cores=2) == ["1,000,000", "83 min", "1.0 GB", "250.0 MB"]
    assert [readable_seconds(seconds) for seconds in (3.44, 34, 3400, 34_000, 3_400_000)] == [
        "3.4 s", "34 s", "57 min", "9.4 h", "39 days",
    ]  # fmt: skip
