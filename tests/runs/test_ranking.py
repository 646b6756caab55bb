"""The order of runs: by validation, by specification, by protocol; the same whether all at once or one by one."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import featurebank
from featurebank import select
from featurebank.errors import UnknownNameError
from featurebank.fitting.folds import Fold
from featurebank.grid.jobs import Job
from featurebank.grid.search import winners
from featurebank.metrics import ACCURACY, METRICS, Metric, scores_with_intervals
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.ranking import Group, Ranking, best_of, best_value, latest_folds, ranked, simplest, sort_by
from featurebank.runs.run import RunRecord
from featurebank.runs.selection import choose_run

pytestmark = pytest.mark.heavy

PACKAGE = Path(featurebank.__file__).parent


def make_run(
    name: str, accuracy: float = 0.5, loss: float = 1.0, seconds: float = 1.0, seed: int = 0,
    images: int | None = None, macro_f1: float | None = None, **more: Any,
) -> RunRecord:  # fmt: skip
    val = {"accuracy": accuracy, "loss": loss, "images": images, "macro_f1": macro_f1}
    val = {name: value for name, value in val.items() if value is not None}
    options: dict[str, Any] = {"head": "knn", "params": {"name": name}, "tap": "pooled", "created": ""}
    options |= {"metrics": {"val": val, "train": {"accuracy": accuracy}}} | more
    fold = options.get("fold")
    identity = f"{name}{seed}" + (f"-{fold[0]}-{fold[2]}" if fold else "")
    return RunRecord(run=identity, seed=seed, seconds=seconds, bank="0" * 32, **options)


def order(*runs: RunRecord) -> list[str]:
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


def test_a_specification_on_two_banks_is_two_competitors() -> None:
    runs = [
        make_run(name, accuracy, seed=seed, directory=Path(bank))
        for bank, gain in (("caches/small", 0.0), ("caches/large", 0.1))
        for name, accuracy in (("a", 0.6 + gain), ("b", 0.5 + gain)) for seed in range(2)
    ]  # fmt: skip
    groups = Ranking(runs).top()
    assert [(group.runs[0].bank_name, group.spec.params["name"], len(group.runs)) for group in groups] == [
        ("large", "a", 2), ("large", "b", 2), ("small", "a", 2), ("small", "b", 2),
    ]  # fmt: skip
    assert [(entry.bank, entry.mean) for entry in entries(runs)][::3] == [("large", 0.7), ("small", 0.5)]
    assert choose_run(runs).bank_name == "large"


def test_the_run_on_the_own_split_is_of_the_bank_that_won_on_folds() -> None:
    folds = [
        make_run("a", accuracy, fold=(part, 2, 0), directory=Path(bank), created="2026-01-02")
        for bank, accuracy in (("small", 0.6), ("large", 0.7)) for part in range(2)
    ]  # fmt: skip
    own = [make_run("a", 0.9, directory=Path(bank), created="2026-01-03") for bank in ("small", "large")]
    assert latest_folds([*own, *folds]) == 2
    assert choose_run([*own, *folds]) == own[1]


def test_folds_count_by_their_images() -> None:
    uneven = [make_run("a", 1.0, fold=(0, 2, 0), images=1), make_run("a", 0.5, fold=(1, 2, 0), images=3)]
    even = [make_run("b", 0.75, fold=(index, 2, 0), images=2) for index in range(2)]
    found = Ranking([*uneven, *even], folds=2).top()
    assert [(group.spec.params["name"], group.accuracy) for group in found] == [("b", 0.75), ("a", 0.625)]


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
    ranking = Ranking([make_run("a", failure="no", metrics={}), make_run("b", fold=(0, 5, 0))])
    assert ranking.first is None
    assert ranking.top() == ranking.rows() == []


def test_rows_tell_the_mean() -> None:
    ranking = Ranking([make_run("a", 0.5, seconds=1.0), make_run("a", 0.7, seconds=3.0, seed=1), make_run("b", 0.1)])
    assert ranking.rows(1) == [("knn(name=a)", 0.6, 2.0)]


def groups(*runs: RunRecord, metric: Metric = ACCURACY) -> list[Group]:
    return Ranking(runs, metric=metric).top()


def test_the_simplest_is_within_one_standard_error() -> None:
    runs = [
        make_run("best", 0.90, images=100, parameters=90),
        make_run("small", 0.88, images=100, parameters=5),  # the standard error is three points
        make_run("tiny", 0.86, images=100, parameters=1),
        make_run("unknown", 0.89, images=100),
    ]
    assert simplest(groups(*runs)).spec.params["name"] == "small"
    assert simplest(groups(*runs[:1])).spec.params["name"] == "best"
    assert [select(runs, rule=rule).run for rule in ("best", "one-se")] == ["best0", "small0"]
    with pytest.raises(UnknownNameError, match="did you mean 'one-se'"):
        select(runs, rule="one-ze")


def test_the_simplest_by_a_metric_that_counts_no_images() -> None:
    """Only the seeds tell its standard error: .07 of a, none of a single run."""
    loss = METRICS["loss"]
    runs = [make_run("a", loss=value, seed=seed, parameters=9) for seed, value in enumerate((0.4, 0.5, 0.64))]
    runs += [make_run("b", loss=0.57, parameters=5), make_run("c", loss=0.7, parameters=1)]
    assert simplest(groups(*runs, metric=loss)).spec.params["name"] == "b"
    assert simplest(groups(*runs[3:], metric=loss)).spec.params["name"] == "b"


def test_a_run_without_the_metric_comes_last() -> None:
    """It was recorded before the metric was added."""
    runs = [make_run("a", 0.9), make_run("b", 0.1, macro_f1=0.1), make_run("c", 0.2, macro_f1=0.2)]
    assert [run.run for run in ranked(runs, metric=METRICS["macro_f1"])] == ["c0", "b0", "a0"]
    assert [run.run for run in sort_by(runs, "macro_f1", lambda run: entries([run])[0].score("macro_f1"))] == [
        "c0", "b0", "a0"
    ]  # fmt: skip
    assert best_value(runs, metric=METRICS["macro_f1"]) == 0.2
    assert best_value(runs[:1], metric=METRICS["macro_f1"]) is None


def test_the_best_of_several_banks() -> None:
    found = {"one": make_run("a", 0.5), "two": make_run("a", 0.7), "three": make_run("b", 0.7, parameters=9)}
    assert best_of(found, found.__getitem__) == "three", "of equal ones the one whose size is known"
    assert best_of(found, found.__getitem__, metric=METRICS["loss"]) == "three"
    assert best_value(found.values()) == 0.7


def test_a_metric_is_one_entry_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is then computed for every run, in the record, and runs can be ranked and sorted by it."""
    worst = Metric("worst", lambda images: float(images.losses.max()), larger_is_better=False)
    monkeypatch.setitem(METRICS, "worst", worst)
    labels = np.array([0, 0, 1])
    answers = {"bold": np.array([[0.9, 0.1]] * 3), "cautious": np.array([[0.45, 0.55]] * 3)}
    runs = []
    for name, probabilities in answers.items():
        scores = scores_with_intervals(probabilities, labels)
        assert scores["worst"] == pytest.approx(-np.log(probabilities[[0, 1, 2], labels].min()))
        assert len(scores["worst_interval"]) == 2
        runs.append(replace(make_run(name), metrics={"val": scores, "train": scores}))
    assert order(*runs) == ["bold0", "cautious0"], "by accuracy"
    expected = ["cautious0", "bold0"]
    assert [run.run for run in ranked(runs, metric=worst)] == expected
    assert [entry.runs[0].run for entry in entries(runs, metric=worst)] == expected
    assert [run.run for run in sort_by(runs, "worst", lambda run: run.metrics["val"]["worst"])] == expected
    assert select(runs, metric=worst).run == "cautious0"


def test_nothing_else_sorts_runs_or_compares_their_metrics() -> None:
    """Whoever wants the better of two runs asks the ranking, which knows the metric."""
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name in {"ranking.py", "metrics.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2]
            if called in {"sorted", "min", "max", "sort", "insort"} and "metrics[" in ast.unparse(node):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


@st.composite
def some_runs(draw: st.DrawFn) -> list[RunRecord]:
    """Runs of few specifications with many ties, some failed, on the bank's split and on folds."""
    cells = st.tuples(st.sampled_from("abcde"), st.integers(0, 2), st.sampled_from([None, (0, 2, 0), (1, 2, 0)]))
    found = []
    for name, seed, fold in draw(st.lists(cells, unique=True, max_size=25)):
        values: dict[str, Any] = {
            "accuracy": draw(st.integers(0, 4)) / 4,
            "macro_f1": draw(st.sampled_from([0.2, 0.8])),
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
@given(runs=some_runs(), data=st.data(), metric=st.sampled_from([ACCURACY, METRICS["loss"], METRICS["macro_f1"]]))
@settings(max_examples=60)
def test_one_by_one_in_any_order_as_all_at_once(
    folds: int, runs: list[RunRecord], data: st.DataObject, metric: Metric
) -> None:
    """Against an order that is worked out plainly, from means of the whole list."""
    judged = [run for run in runs if not run.failure and not run.rung and run.folds == folds]

    def plain(run: RunRecord) -> tuple[Any, ...]:
        own = [other for other in judged if other.spec == run.spec]
        sizes = [other.parameters for other in own if other.parameters is not None]
        images = 4 * (len({other.fold for other in own}))
        mean = sum(other.metrics["val"][metric.name] for other in own) / len(own)
        sign = 1 if metric.name == "loss" else -1
        return (
            len({other.fold for other in own}) < folds,
            sign * (round(mean * images) / images if metric.name == "accuracy" else round(mean, 9)),
            sum(sizes) / len(sizes) if sizes else float("inf"),
            round(sum(other.metrics["val"]["loss"] for other in own) / len(own), 9),
            run.spec.key,
            sign * run.metrics["val"][metric.name],
            run.metrics["val"]["loss"],
            run.seed,
            run.fold or (),
        )

    ranking = Ranking(folds=folds, metric=metric)
    for run in data.draw(st.permutations(runs)):
        ranking.add(run)
    if judged:
        ranking.add(data.draw(st.sampled_from(judged)))  # as its record with its weights: changes nothing
    expected = sorted(judged, key=plain)
    assert [run for group in ranking.top() for run in group.runs] == expected
    assert ranking.first == (expected[0] if expected else None)
    assert ranked(runs, folds=folds, metric=metric)[: len(expected)] == expected
    assert sorted(run.run for run in ranked(runs, folds=folds, metric=metric)) == sorted(run.run for run in runs)


@given(runs=some_runs(), data=st.data(), one_se=st.booleans())
@settings(max_examples=40)
def test_the_clock_chooses_nothing(runs: list[RunRecord], data: st.DataObject, one_se: bool) -> None:
    """Leaderboard, selection, `--one-se` and races give the same after other times in another order."""
    times = data.draw(st.lists(st.floats(0, 1e4), min_size=len(runs), max_size=len(runs)))
    later = data.draw(st.permutations([replace(run, seconds=time) for run, time in zip(runs, times, strict=True)]))

    def names(found: Sequence[RunRecord | Entry]) -> list[Any]:
        return [one.run if isinstance(one, RunRecord) else one.spec.key for one in found]

    assert names(ranked(later)) == names(ranked(runs))
    assert names(entries(later)) == names(entries(runs))
    if any(not (run.failure or run.rung) and run.folds == latest_folds(runs) for run in runs):
        assert select(later, one_se=one_se).run == select(runs, one_se=one_se).run
    racers = [replace(run, rung=(1, 3, 1)) for run in runs]
    jobs = [Job(run.run, run.spec, run.seed, run.fold and Fold(*run.fold)) for run in racers]
    again = {run.run: replace(run, rung=(1, 3, 1)) for run in later}
    assert winners(jobs, again) == winners(jobs, {run.run: run for run in racers})
