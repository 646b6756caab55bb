"""The simulation of many workers obeys what arithmetic knows beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale.simulation import CAUSES, Assumed, Measured, piece_times, simulate

MEASURED = Measured(
    piece_seconds=(1.0,), piece_images=100, load_seconds=0.0, read_bytes=1000.0, write_bytes=0.0, digests_per_second=1e9
)
CALM = Assumed(slowed=0.0, failures_per_hour=0.0, disk_bytes_per_second=1e12, digests_known=True)
PIECES = np.full(64, 100)


@pytest.mark.parametrize("workers", [1, 2, 8, 64])
def test_without_disturbance_workers_share_the_time(workers: int) -> None:
    outcome = simulate(MEASURED, CALM, PIECES, workers)
    assert outcome.seconds == pytest.approx(64 / workers)
    assert outcome.efficiency == pytest.approx(1)
    assert outcome.images == 6400


def test_more_workers_than_pieces_wait() -> None:
    outcome = simulate(MEASURED, CALM, PIECES, 256)
    assert outcome.seconds == pytest.approx(1)
    assert outcome.lost["no pieces"] == pytest.approx(0.75)


@pytest.mark.parametrize(("disk", "seconds"), [(1e6, 1), (1e5, 64), (4e5, 16)])
def test_a_full_disk_is_shared(disk: float, seconds: float) -> None:
    """64 workers ask for 100,000 bytes a second each."""
    outcome = simulate(MEASURED, replace(CALM, disk_bytes_per_second=disk * 6.4), PIECES, 64)
    assert outcome.seconds == pytest.approx(max(1, seconds / 6.4))
    assert outcome.lost["disk"] == pytest.approx(1 - 1 / outcome.seconds)


def test_the_disk_is_free_again_when_others_have_finished() -> None:
    """Two pieces, one of twice the images: they share the disk for two seconds, then the other is alone."""
    measured = replace(MEASURED, piece_seconds=(0.1,))
    outcome = simulate(measured, replace(CALM, disk_bytes_per_second=1e5), np.array([100, 200]), 2)
    assert outcome.seconds == pytest.approx(3)


def test_every_cause_has_its_own_time() -> None:
    digests = simulate(replace(MEASURED, digests_per_second=100), replace(CALM, digests_known=False), PIECES, 64)
    assert digests.seconds == pytest.approx(65)
    assert digests.lost["digests"] == pytest.approx(64 / 65)
    load = simulate(replace(MEASURED, load_seconds=3), CALM, PIECES, 64)
    assert load.lost["load"] == pytest.approx(0.75)
    slow = simulate(MEASURED, replace(CALM, slowed=1.0, slowest=3.0, tail=0.01), PIECES, 1)
    assert slow.lost["slow workers"] > 0.6
    listing = simulate(replace(MEASURED, listing_seconds=1.0, listing_seconds_a_piece=1 / 64), CALM, PIECES, 64)
    assert listing.lost["listing"] == pytest.approx(3 / 4)
    assert listing.listings == 2  # the first piece alone, then the 63 that came meanwhile
    rare = simulate(replace(MEASURED, listing_seconds=1.0), replace(CALM, listed_every=20.0), PIECES, 1)
    assert (rare.listings, rare.seconds) == (5, pytest.approx(65))  # after 1, 21, 41 and 61 pieces, and at the end


def test_failures_repeat_pieces_and_load_the_network_again() -> None:
    measured = replace(MEASURED, load_seconds=1.0)
    calm = simulate(measured, CALM, PIECES, 8)
    outcome = simulate(measured, replace(CALM, failures_per_hour=600.0, restart_seconds=2.0), PIECES, 8)
    assert outcome.failures > 5
    assert outcome.seconds > calm.seconds
    assert outcome.lost["failures"] > outcome.failures * 2 / (8 * outcome.seconds) * 0.5


def test_a_second_copy_of_a_late_piece_counts_if_it_is_first() -> None:
    slow = replace(CALM, slowed=0.1, tail=0.5, slowest=100.0)
    alone = [simulate(MEASURED, replace(slow, late=float("inf")), PIECES, 8, seed=seed) for seed in range(20)]
    copied = [simulate(MEASURED, slow, PIECES, 8, seed=seed) for seed in range(20)]
    assert sum(one.seconds for one in copied) < 0.7 * sum(one.seconds for one in alone)
    assert max(one.seconds for one in alone) > 100
    assert sum(one.efficiency for one in copied) > sum(one.efficiency for one in alone)


@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(1, 40), pieces=st.integers(1, 60), load=st.floats(0, 5), disk=st.floats(1e4, 1e7),
    failures=st.floats(0, 200), slowed=st.floats(0, 1), listing=st.floats(0, 3), known=st.booleans(),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_the_shares_sum_to_one_and_nothing_is_faster_than_possible(
    workers: int, pieces: int, load: float, disk: float, failures: float, slowed: float, listing: float, known: bool,
    seed: int,
) -> None:  # fmt: skip
    measured = replace(
        MEASURED, piece_seconds=(0.8, 1.0, 1.3), load_seconds=load, listing_seconds=listing, digests_per_second=500.0
    )
    assumed = Assumed(
        slowed=slowed, failures_per_hour=failures, restart_seconds=1.0, disk_bytes_per_second=disk, digests_known=known
    )
    sizes = np.random.default_rng(seed).integers(1, 100, pieces)
    times = piece_times(measured, sizes, np.random.default_rng([seed, 1]))
    outcome = simulate(measured, assumed, sizes, workers, seed=seed)
    assert set(outcome.lost) == set(CAUSES)
    assert min(outcome.lost.values()) >= 0
    assert outcome.efficiency + sum(outcome.lost.values()) == pytest.approx(1)
    least = max(times.sum() / workers, times.max(), outcome.images * 1000 / disk) + load
    assert outcome.seconds >= least * (1 - 1e-9)
    assert outcome == simulate(measured, assumed, sizes, workers, seed=seed)


def test_pieces_take_the_measured_time_in_the_mean() -> None:
    measured = replace(MEASURED, piece_seconds=(0.5, 1.5))
    times = piece_times(measured, np.full(500, 1000), np.random.default_rng(0))
    assert times.mean() == pytest.approx(10, rel=0.02)
    assert 0.5 < times.std() < 3
