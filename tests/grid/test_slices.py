"""Slices of a grid: every job once, and together what one process trains together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from featurebank.bank import Bank
from featurebank.fitting.data import TrainingData
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.fitting.parallel import tasks_of
from featurebank.grid import expand
from featurebank.grid.jobs import Job, plan
from featurebank.grid.options import GridOptions
from featurebank.grid.slices import PlannedData, Slice, cut
from featurebank.grid.time_budget import make_pieces

GRID: list[dict[str, Any]] = [
    *({"kind": "knn", "n_neighbors": n} for n in range(1, 41)),
    *({"kind": "ridge", "alpha": alpha, "pca": pca} for alpha in (1.0, 2.0, 3.0) for pca in (2, 3)),
    *({"kind": "softmax", "learning_rate": rate / 100} for rate in range(1, 25)),
]


@pytest.fixture
def bank(make_bank: Callable[..., Bank]) -> Bank:
    return make_bank(taps=("pooled", "map"))


def jobs_of(bank: Bank, **options: Any) -> list[Job]:
    return plan(expand(GRID, bank, options.get("taps")), GridOptions(**options), bank)


def names(slice_: Slice) -> list[str]:
    return [job.run for job in slice_.jobs]


@pytest.mark.parametrize("workers", [1, 2, 16])
@pytest.mark.parametrize("options", [{}, {"folds": 2, "seeds": 2}, {"taps": ["pooled", "map"]}])
def test_every_job_is_in_one_slice_of_its_tap_and_fold(bank: Bank, workers: int, options: dict[str, Any]) -> None:
    jobs = jobs_of(bank, **options)
    slices = cut(jobs, bank, workers)
    assert sorted(name for one in slices for name in names(one)) == sorted(job.run for job in jobs)
    for one in slices:
        assert {(job.spec.tap, job.fold) for job in one.jobs} == {one.place}
        assert {job.spec.head_kind.is_neural for job in one.jobs} == {one.is_neural}
        assert one.cost > 0


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_heads_of_a_path_stay_together(bank: Bank, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.grid.slices._LEAST_COST", 0.0)
    jobs = jobs_of(bank)
    slices = cut(jobs, bank, workers)
    where = {name: number for number, one in enumerate(slices) for name in names(one)}
    for piece in make_pieces(jobs, TrainingData.of(bank, "pooled")):
        if piece[0].spec.head_kind.is_neural:
            continue
        for task in tasks_of({place: job.trained.make(0) for place, job in enumerate(piece)}):
            assert len({where[piece[place].run] for place in task}) == 1


def test_cheap_work_is_not_cut_small_and_much_work_is_enough_for_all(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job for job in jobs_of(bank) if job.spec.kind == "knn"]
    assert sorted(len(one.jobs) for one in cut(jobs, bank, 100)) == [8, 32]
    monkeypatch.setattr("featurebank.grid.slices._LEAST_COST", 0.0)
    assert 8 <= len(cut(jobs, bank, 2)) <= 16


def test_a_program_is_cut_where_it_is_more_than_a_fair_share(bank: Bank) -> None:
    neural = [[one for one in cut(jobs_of(bank), bank, workers) if one.is_neural] for workers in (1, 2, 100)]
    assert [len(slices) for slices in neural] == [1, 2, 3]
    assert min(len(one.jobs) for one in neural[2]) == 8


def test_halves_are_the_jobs_in_order(bank: Bank) -> None:
    whole = cut(jobs_of(bank)[:5], bank, 1)[0]
    assert [name for half in whole.halves() for name in names(half)] == names(whole)
    assert len(Slice(whole.jobs[:1], 1.0).halves()) == 1


@pytest.mark.parametrize("fold", [None, Fold(1, 3)])
def test_planned_data_have_the_sizes_of_the_data(bank: Bank, fold: Fold | None) -> None:
    for tap in bank.taps:
        data = TrainingData.of(bank, tap) if fold is None else FoldedImages(bank, tap).data(fold)
        planned = PlannedData(bank, tap, fold)
        assert (planned.shape, planned.classes) == (data.shape, data.classes)
        np.testing.assert_array_equal(planned.y, data.y)
        np.testing.assert_array_equal(planned.y_val, data.y_val)
