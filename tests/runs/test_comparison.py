"""The leaderboard's lines: means, intervals, words, and which heads cannot be told from the best."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from featurebank.metrics import pack
from featurebank.runs.comparison import Entry, entries
from featurebank.runs.leaderboard import Leaderboard
from featurebank.runs.run import RunRecord
from featurebank.statistics import mcnemar, mean_interval, proportion_interval


def make_run(
    name: str, right: np.ndarray | list[int], *, train: float = 1.0, seed: int = 0,
    fold: tuple[int, int, int] | None = None, told: bool = True, **more: Any,
) -> RunRecord:  # fmt: skip
    """A run that gets these of its validation images right."""
    answers = np.asarray(right, bool)
    val = {"accuracy": float(answers.mean()), "loss": 1.0, "macro_f1": 0.5, "images": len(answers)}
    return RunRecord(
        run=f"{name}{seed}{fold or ''}", head="knn", params={"name": name}, tap="pooled", seed=seed, seconds=1.0,
        metrics={"val": val, "train": {"accuracy": train}}, bank="0" * 32, created="", fold=fold,
        right=pack(answers) if told else None, **more,
    )  # fmt: skip


def first(count: int, of: int = 100) -> np.ndarray:
    return np.arange(of) < count


def one(*runs: RunRecord) -> Entry:
    (found,) = entries(runs)
    return found


def test_one_run_has_wilsons_interval() -> None:
    found = one(make_run("a", first(80)))
    assert (found.mean, found.std) == (0.8, None)
    assert found.interval == proportion_interval(0.8, 100)
    assert found.standard_error == pytest.approx(0.04)
    assert (found.p_value, found.indistinguishable) == (None, True)


def test_seeds_have_students_interval_where_it_is_wider() -> None:
    apart = one(*(make_run("a", first(count), seed=count) for count in (50, 70, 90)))
    assert apart.std == pytest.approx(0.2)
    assert apart.interval == (pytest.approx(mean_interval([0.5, 0.7, 0.9])[0]), 1.0)
    near = one(*(make_run("a", first(70), seed=seed) for seed in range(3)))
    assert near.interval == proportion_interval(0.7, 100), "three equal seeds do not make it certain"
    assert apart.standard_error == pytest.approx(np.sqrt(0.7 * 0.3 / 100 + 0.04 / 3))


def test_folds_have_the_interval_of_all_their_images() -> None:
    found = one(*(make_run("a", first(count), fold=(index, 2, 0)) for index, count in enumerate((60, 80))))
    assert (found.mean, found.folds, found.complete) == (pytest.approx(0.7), 2, True)
    assert found.interval == pytest.approx(proportion_interval(0.7, 200))
    assert found.standard_error == pytest.approx(np.std([0.6, 0.8], ddof=1) / np.sqrt(2))


def test_folds_that_are_repeated_do_not_make_more_images() -> None:
    runs = [make_run("a", first(70), fold=(index, 2, repeat)) for index in range(2) for repeat in range(3)]
    assert one(*runs).interval == pytest.approx(proportion_interval(0.7, 200))


@pytest.mark.parametrize(
    ("train", "val", "word"),
    [
        (0.90, 85, "fits"),
        (0.86, 80, "fits"),  # more than five points, but within the interval
        (0.90, 80, "fits"),  # above the interval, but not by five points for certain
        (0.99, 80, "over-fits"),
        (0.95, 93, "fits"),
        (0.50, 60, "under-fits"),
    ],
)
def test_the_gap_in_a_word(train: float, val: int, word: str) -> None:
    found = one(make_run("a", first(val), train=train))
    assert found.verdict == word
    assert found.gap == pytest.approx(train - val / 100)


def test_a_head_under_fits_where_it_does_not_learn_what_the_best_transfers() -> None:
    best, poor = entries([make_run("best", first(95), train=0.99), make_run("poor", first(60), train=0.7)])
    assert (best.verdict, poor.verdict) == ("fits", "under-fits")


@pytest.mark.parametrize(
    ("count", "recall", "word"),
    [(22, [0.2, 0.24, None], "at chance"), (95, [0.0, 1.0, 0.0], "at chance"), (95, [0.9, 1.0, 0.8], "fits")],
)
def test_a_head_that_may_be_guessing_does_not_fit(count: int, recall: list[float | None], word: str) -> None:
    """Also one that says the most common class of all images."""
    run = make_run("a", first(count), train=count / 100)
    run.metrics["val"]["recall"] = recall  # type: ignore[index]
    assert one(run).verdict == word


def test_which_cannot_be_told_from_the_first() -> None:
    best, near, far = entries([
        make_run("best", first(90)),
        make_run("near", np.roll(first(88), 3)),
        make_run("far", first(60)),
    ])  # fmt: skip
    assert near.p_value == mcnemar(3, 1)
    assert far.p_value == pytest.approx(2 * mcnemar(30, 0))
    assert (best.indistinguishable, near.indistinguishable, far.indistinguishable) == (True, True, False)


def test_what_counts_is_on_which_images_they_differ() -> None:
    """The same two accuracies: never right where the first is not, or right elsewhere."""
    inside = entries([make_run("best", first(90)), make_run("b", first(82))])[1]
    elsewhere = entries([make_run("best", first(90)), make_run("b", ~first(18))])[1]
    assert not inside.indistinguishable
    assert elsewhere.indistinguishable


def test_seeds_count_each_image_once() -> None:
    """Ten equal seeds say no more than one."""
    alone = entries([make_run("best", first(90)), make_run("b", first(86))])[1]
    many = entries([make_run(name, first(n), seed=s) for name, n in (("best", 90), ("b", 86)) for s in range(10)])[1]
    assert many.p_value == alone.p_value
    assert alone.indistinguishable


def test_seeds_of_which_one_answers_otherwise_count_in_part() -> None:
    runs = [make_run("best", first(90), seed=s) for s in range(2)]
    other = [make_run("b", first(90 if seed else 80), seed=seed) for seed in range(2)]
    assert entries([*runs, *other])[1].p_value == mcnemar(5, 0)


def test_folds_are_pooled() -> None:
    runs = [
        make_run(name, first(count, 50), fold=(index, 2, 0))
        for index in range(2)
        for name, count in (("best", 45), ("b", 41))
    ]
    assert entries(runs)[1].p_value == mcnemar(8, 0)


def test_only_common_folds_are_compared() -> None:
    runs = [make_run("best", first(45, 50), fold=(index, 2, 0)) for index in range(2)]
    found = entries([*runs, make_run("b", first(41, 50), fold=(1, 2, 0))])[1]
    assert (found.p_value, found.complete) == (mcnemar(4, 0), False)


def test_records_that_do_not_tell_which_images_are_right_are_not_compared() -> None:
    found = entries([make_run("best", first(90)), make_run("b", first(90), told=False)])[1]
    assert (found.p_value, found.indistinguishable) == (None, False)


def test_many_comparisons_are_corrected() -> None:
    runs = [make_run("best", first(90)), *(make_run(f"b{n}", first(84)) for n in range(10))]
    assert mcnemar(6, 0) < 0.05
    assert all(entry.indistinguishable for entry in entries(runs))


def test_there_is_nothing_to_tell_of_nothing() -> None:
    assert entries([]) == []
    assert entries([make_run("a", first(3), failure="no")]) == []
    assert entries([make_run("a", first(3))], folds=5) == []


def test_a_data_frame_has_a_row_for_each_run() -> None:
    board = Leaderboard([make_run("a", first(90)), make_run("b", first(80), fold=(1, 5, 0)), make_run("c", [1])])
    frame = board.to_frame()
    assert list(frame["val_accuracy"]) == [0.9, 0.8, 1.0]
    assert list(frame["run"]) == [run.run for run in board]
    assert frame["fold"].dropna().tolist() == [1]
    assert [entry.spec.params["name"] for entry in board.entries] == ["c", "a"]
    assert Leaderboard().to_frame().empty
