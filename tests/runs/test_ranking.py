"""The order of runs: by validation, by specification, by protocol; the same whether all at once or one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurebank.fitting.folds import Fold
from featurebank.grid.jobs import Job
from featurebank.grid.search import winners
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.ranking import Standing, latest_folds, ranked
from featurebank.runs.run import Run
from featurebank.runs.selection import select

pytestmark = pytest.mark.heavy


def make_run(
    name: str, accuracy: float = 0.5, loss: float = 1.0, seconds: float = 1.0, seed: int = 0,
    images: int | None = None, **more: Any,
) -> Run:  # fmt: skip
    val = {"accuracy": accuracy, "loss": loss, **({} if images is None else {"images": images})}
    options: dict[str, Any] = {"head": "knn", "params": {"name": name}, "tap": "pooled", "created": ""}
    options |= {"metrics": {"val": val, "train": {"accuracy": accuracy}}} | more
    fold = options.get("fold")
    identity = f"{name}{seed}" + (f"-{fold[0]}-{fold[2]}" if fold else "")
    return Run(run=identity, seed=seed, seconds=seconds, bank="0" * 32, **options)


def order(*runs: Run) -> list[str]:
    return [run.run for run in ranked(runs)]


def test_higher_accuracy_comes_first() -> None:
    assert order(make_run("a", 0.5), make_run("b", 0.7), make_run("c", 0.6)) == ["b0", "c0", "a0"]


def test_equal_ones_by_parameters_then_loss_and_never_by_time() -> None:
    assert order(make_run("a", parameters=20, loss=0.1), make_run("b", parameters=10)) == ["b0", "a0"]
    assert order(make_run("a", loss=0.1), make_run("b", parameters=10)) == ["b0", "a0"], "unknown is not simple"
    assert order(make_run("a", seconds=2.0), make_run("b", seconds=1.0)) == ["a0", "b0"]
    assert order(make_run("a", loss=2.0), make_run("b", loss=1.0)) == ["b0", "a0"]


def test_less_than_an_image_is_no_difference() -> None:
    small = [
        make_run("small", accuracy, seed=seed, images=10, parameters=5) for seed, accuracy in enumerate((0.8, 0.9))
    ]
    large = [
        make_run("large", accuracy, seed=seed, images=10, parameters=9) for seed, accuracy in enumerate((0.8, 0.8))
    ]
    assert order(*large, *small)[0] == "small1"
    ahead = [make_run("ahead", 0.9, seed=seed, images=10, parameters=9) for seed in range(2)]
    assert order(*ahead, *small)[0] == "ahead0"


def test_seeds_are_judged_by_their_mean() -> None:
    lucky = [make_run("a", 0.95, seed=0), make_run("a", 0.75, seed=1)]
    steady = [make_run("b", 0.88, seed=0), make_run("b", 0.90, seed=1)]
    assert order(*lucky, *steady) == ["b1", "b0", "a0", "a1"]


def test_folds_count_by_their_images() -> None:
    uneven = [make_run("a", 1.0, fold=(0, 2, 0), images=1), make_run("a", 0.5, fold=(1, 2, 0), images=3)]
    even = [make_run("b", 0.75, fold=(index, 2, 0), images=2) for index in range(2)]
    groups = Standing([*uneven, *even], folds=2).top()
    assert [(group.spec.params["name"], group.accuracy) for group in groups] == [("b", 0.75), ("a", 0.625)]


def test_a_specification_that_misses_a_fold_comes_after_those_that_have_all() -> None:
    """Its folds may be the easy ones."""
    whole = [make_run("a", 0.7, fold=(index, 2, 0)) for index in range(2)]
    assert order(make_run("b", 0.9, fold=(0, 2, 0)), *whole) == ["a0-0-0", "a0-1-0", "b0-0-0"]


def test_taps_are_different_specifications() -> None:
    runs = [make_run("a", 0.9, seed=0), make_run("a", 0.1, seed=1, tap="map"), make_run("b", 0.6)]
    assert order(*runs) == ["a0", "b0", "a1"]


def test_failed_runs_come_last_and_do_not_count_in_a_mean() -> None:
    failed = make_run("a", seed=1, failure="no", metrics={})
    assert order(failed, make_run("b", 0.5), make_run("a", 0.6, seed=0)) == ["a0", "b0", "a1"]


def test_what_a_race_stopped_comes_before_what_failed() -> None:
    stopped = [make_run(f"r{rung}", 0.9 + rung / 100, rung=(rung, 3, 5 * rung)) for rung in (1, 2)]
    assert order(*stopped, make_run("f", failure="no", metrics={}), make_run("a", 0.2)) == ["a0", "r20", "r10", "f0"]


def test_protocols_are_not_mixed() -> None:
    """A hold-out of few easy images is no reason to come before what was judged on folds."""
    folds = [make_run("a", 0.7, fold=(index, 2, 0), created="2") for index in range(2)]
    other = make_run("b", 0.9, created="1")
    assert order(other, *folds) == ["a0-0-0", "a0-1-0", "b0"]
    assert [run.run for run in ranked([other, *folds], folds=1)] == ["b0", "a0-0-0", "a0-1-0"]


def test_the_latest_grid_tells_the_protocol() -> None:
    folds = [make_run("a", fold=(index, 5, 0), created="2026-01-01") for index in range(5)]
    assert latest_folds([]) == 1
    assert latest_folds([make_run("b", created="2026-01-02"), *folds]) == 1
    assert latest_folds([make_run("b", created="2025-12-31"), *folds]) == 5
    assert latest_folds([make_run("a", created="2026-01-02"), *folds]) == 5, "the chosen one, trained once more"


def test_the_first_of_nothing() -> None:
    standing = Standing([make_run("a", failure="no", metrics={}), make_run("b", fold=(0, 5, 0))])
    assert standing.first is None
    assert standing.top() == standing.rows() == []


def test_rows_tell_the_mean() -> None:
    standing = Standing([make_run("a", 0.5, seconds=1.0), make_run("a", 0.7, seconds=3.0, seed=1), make_run("b", 0.1)])
    assert standing.rows(1) == [("knn(name=a)", 0.6, 2.0)]


@st.composite
def some_runs(draw: st.DrawFn) -> list[Run]:
    """Runs of few specifications with many ties, some failed, on the bank's split and on folds."""
    cells = st.tuples(st.sampled_from("abcde"), st.integers(0, 2), st.sampled_from([None, (0, 2, 0), (1, 2, 0)]))
    found = []
    for name, seed, fold in draw(st.lists(cells, unique=True, max_size=25)):
        values: dict[str, Any] = {
            "accuracy": draw(st.integers(0, 4)) / 4,
            "loss": draw(st.sampled_from([0.1, 0.3])),
            "seconds": draw(st.sampled_from([0.1, 0.7])),
            "parameters": draw(st.sampled_from([None, 3, 7])),
            "rung": draw(st.sampled_from([None, None, None, (1, 3, 12)])),
            "images": 4,
            "seed": seed,
            "fold": fold,
        }
        failed = {"failure": "no", "metrics": {}} if draw(st.integers(0, 5)) == 0 else {}
        found.append(make_run(name, **values, **failed))
    return found


@pytest.mark.parametrize("folds", [1, 2])
@given(runs=some_runs(), data=st.data())
@settings(deadline=None, max_examples=60)
def test_one_by_one_in_any_order_as_all_at_once(folds: int, runs: list[Run], data: st.DataObject) -> None:
    """Against an order that is worked out plainly, from means of the whole list."""
    judged = [run for run in runs if not run.failure and not run.rung and run.folds == folds]

    def plain(run: Run) -> tuple[Any, ...]:
        own = [other for other in judged if other.spec == run.spec]
        sizes = [other.parameters for other in own if other.parameters is not None]
        images = 4 * (len({other.fold for other in own}))
        mean = sum(other.metrics["val"]["accuracy"] for other in own) / len(own)
        return (
            len({other.fold for other in own}) < folds,
            -round(mean * images) / images,
            sum(sizes) / len(sizes) if sizes else float("inf"),
            round(sum(other.metrics["val"]["loss"] for other in own) / len(own), 9),
            run.spec.key,
            -run.metrics["val"]["accuracy"],
            run.metrics["val"]["loss"],
            run.seed,
            run.fold or (),
        )

    standing = Standing(folds=folds)
    for run in data.draw(st.permutations(runs)):
        first = standing.would_be_first(run)
        standing.add(run)
        assert first == (standing.first == run), "known before it is added"
    if judged:
        standing.add(data.draw(st.sampled_from(judged)))  # as its record with its weights: changes nothing
    expected = sorted(judged, key=plain)
    assert [run for group in standing.top() for run in group.runs] == expected
    assert standing.first == (expected[0] if expected else None)
    assert ranked(runs, folds=folds)[: len(expected)] == expected
    assert sorted(run.run for run in ranked(runs, folds=folds)) == sorted(run.run for run in runs)


@given(runs=some_runs(), data=st.data(), one_se=st.booleans())
@settings(deadline=None, max_examples=40)
def test_the_clock_chooses_nothing(runs: list[Run], data: st.DataObject, one_se: bool) -> None:
    """Leaderboard, selection, `--one-se` and races give the same after other times in another order."""
    times = data.draw(st.lists(st.floats(0, 1e4), min_size=len(runs), max_size=len(runs)))
    later = data.draw(st.permutations([replace(run, seconds=time) for run, time in zip(runs, times, strict=True)]))

    def names(found: Sequence[Run | Entry]) -> list[Any]:
        return [one.run if isinstance(one, Run) else one.spec.key for one in found]

    assert names(ranked(later)) == names(ranked(runs))
    assert names(entries(later)) == names(entries(runs))
    if any(not (run.failure or run.rung) and run.folds == latest_folds(runs) for run in runs):
        assert select(later, one_se=one_se).run == select(runs, one_se=one_se).run
    racers = [replace(run, rung=(1, 3, 1)) for run in runs]
    jobs = [Job(run.run, run.spec, run.seed, run.fold and Fold(*run.fold)) for run in racers]
    again = {run.run: replace(run, rung=(1, 3, 1)) for run in later}
    assert winners(jobs, again) == winners(jobs, {run.run: run for run in racers})
