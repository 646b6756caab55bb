"""Shares of time, also of workers side by side."""

from __future__ import annotations

import pytest

from featurebank.system.meter import Meter, SharedTime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("featurebank.system.meter.time.perf_counter", lambda: now[0])
    return now


def test_one_worker(clock: list[float]) -> None:
    meter = Meter()
    for work, rest in ((3.0, 1.0), (2.0, 4.0)):
        with meter.working("write"):
            clock[0] += work
        clock[0] += rest
    assert meter.share("write", 10) == 0.5
    assert meter.share("decode", 10) == 0
    assert meter.share("write", 0) == 0


def test_workers_side_by_side(clock: list[float]) -> None:
    meter = Meter()
    meter.start("decode")
    clock[0] += 2
    meter.start("decode")
    clock[0] += 2
    meter.stop("decode")
    clock[0] += 1
    meter.stop("decode")
    clock[0] += 5
    assert meter.share("decode", 10, workers=2) == pytest.approx(7 / 20)
    assert meter.share("decode", 10) == 0.5, "while any was at work"


def test_work_that_fails_ends_too(clock: list[float]) -> None:
    meter = Meter()

    def fail() -> None:
        with meter.working("a"):
            clock[0] += 1
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    clock[0] += 1
    assert meter.share("a", 2) == 0.5


def test_time_is_divided_among_those_that_work(clock: list[float]) -> None:
    shared = SharedTime()
    shared.start("a")
    clock[0] += 2
    shared.start("b")
    shared.start("b")  # two tasks of one are no larger part
    clock[0] += 4
    shared.stop("a")
    shared.stop("b")
    clock[0] += 3
    assert (shared.seconds("a"), shared.seconds("b")) == (4.0, 5.0), "the second task of b is still under way"
    shared.stop("b")
    clock[0] += 5
    assert shared.seconds("a") + shared.seconds("b") == 9.0
    assert shared.seconds("nobody") == 0.0
