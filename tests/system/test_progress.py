"""A reporter shows work and never ends it."""

from __future__ import annotations

import contextlib
import doctest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grids import FAST

from featurebank import extract, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.errors import BankWarning, FeatureBankWarning
from featurebank.system import progress
from featurebank.system.progress import BestSoFar, Reporter

METHODS = ("track", "enter", "advance", "leave", "step", "detail", "ranking", "say", "warn", "failed")


class Broken(Reporter):
    """Fails in one of its methods, or in all of them."""

    def __init__(self, *where: str) -> None:
        self.where = where
        self.failures: list[Exception] = []
        self.calls: list[str] = []

    def fail(self, method: str) -> None:
        self.calls.append(method)
        if method in self.where:
            raise ZeroDivisionError(method)

    def track(self, what: str, total: int, unit: str) -> Any:
        self.fail("track")
        return self.tracked()

    @contextlib.contextmanager
    def tracked(self) -> Iterator[Callable[[int], None]]:
        self.fail("enter")
        try:
            yield lambda count: self.fail("advance")
        finally:
            self.fail("leave")

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.fail("step")
        yield

    def detail(self, text: str) -> None:
        self.fail("detail")

    def ranking(self, places: Any) -> None:
        self.fail("ranking")

    def say(self, line: str) -> None:
        self.fail("say")

    def warn(self, line: str) -> None:
        self.fail("warn")

    def failed(self, error: Exception) -> None:
        self.failures.append(error)
        self.fail("failed")


def work(reporter: Reporter) -> int:
    """Uses all methods; returns how often the work was done."""
    done = 0
    for _ in range(2):
        with reporter.track("heads", 2, "runs") as advance, reporter.step("loading"):
            reporter.detail("epoch 1")
            advance(1)
            reporter.ranking([BestSoFar("knn", 0.5, 1.0)])
            reporter.say("line")
            reporter.warn("line")
            done += 1
    return done


@pytest.mark.parametrize("where", [*((method,) for method in METHODS), METHODS], ids="+".join)
def test_a_reporter_that_fails_ends_no_work(where: tuple[str, ...]) -> None:
    reporter = Broken(*where)
    assert work(reporter) == 2
    assert len(reporter.failures) == (where != ("failed",)), "the first failure is reported, and no other"
    assert reporter.calls.count("warn") == reporter.calls.count("say") == 2, "lines are never left out"
    if where != ("failed",):
        assert sum(reporter.calls.count(method) for method in where if method not in {"say", "warn", "failed"}) <= 2


@pytest.mark.parametrize("where", ["leave", "advance"])
def test_what_ends_the_work_is_seen_though_the_reporter_fails_too(where: str) -> None:
    reporter = Broken(where)

    def failing() -> None:
        with reporter.track("heads", 2, "runs") as advance:
            advance(1)
            raise KeyError("of the work")

    with pytest.raises(KeyError, match="of the work"):
        failing()


def test_the_error_of_the_work_is_no_failure_of_the_reporter() -> None:
    reporter = Broken()
    with pytest.raises(KeyError), reporter.track("heads", 2, "runs"), reporter.step("loading"):
        raise KeyError
    assert reporter.failures == []


def test_work_that_is_done_after_an_error_is_no_failure_either() -> None:
    reporter = Broken()
    try:
        raise KeyError
    except KeyError:
        assert work(reporter) == 2
    assert reporter.failures == []


def test_an_interruption_goes_through() -> None:
    class Interrupting(Reporter):
        def say(self, line: str) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupting().say("line")


def test_the_failure_of_somebody_elses_reporter_is_reported_once() -> None:
    class Wrong(Reporter):
        def say(self, line: str) -> None:
            raise ValueError("wrong")

    reporter = Wrong()
    with pytest.warns(FeatureBankWarning, match="Wrong raised ValueError: wrong") as caught:
        reporter.say("a")
    assert len(caught) == 1
    reporter.say("b")  # without a second warning, which would fail this test


@pytest.mark.parametrize("where", [METHODS])
def test_stages_end_as_they_would_without_it(
    where: tuple[str, ...], photos: Path, lite: Backbone, tmp_path: Path, pixels: list[Any],
    make_bank: Callable[..., Bank],
) -> None:  # fmt: skip
    reporter = Broken(*where)
    bank = extract(load_dataset(str(photos)), lite, cache=tmp_path / "cache", reporter=reporter)
    assert len(bank) == 24
    assert np.isfinite(bank.features()).all()
    assert all(run.failure is None for run in train_heads(make_bank(), FAST, reporter=reporter))
    assert {"track", "say"} <= set(reporter.calls)


def test_functions_without_a_reporter_show_in_the_way_of_the_process() -> None:
    reporter = Broken()
    with progress.shown_by(reporter), progress.step("loading"), progress.track("download", 2, "bytes") as advance:
        advance(2)
    with progress.step("loading"):
        pass
    assert reporter.calls == ["step", "track", "enter", "advance", "leave"]


def test_the_examples_are_right() -> None:
    assert doctest.testmod(progress).failed == 0


def test_a_reporter_that_takes_lines_alone_receives_warnings_of_any_kind() -> None:
    class Lines(Reporter):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def warn(self, line: str) -> None:  # type: ignore[override]
            self.lines.append(line)

    class Kinds(Reporter):
        def __init__(self) -> None:
            self.kinds: list[type] = []

        def warn(self, line: str, kind: type[FeatureBankWarning] = FeatureBankWarning) -> None:
            self.kinds.append(kind)

    lines, kinds = Lines(), Kinds()
    for reporter in (lines, kinds):
        reporter.warn("plain")
        reporter.warn("of a bank", BankWarning)
    assert lines.lines == ["plain", "of a bank"]
    assert kinds.kinds == [FeatureBankWarning, BankWarning]
