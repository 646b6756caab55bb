"""What notebooks and loaders of data do with processes: fork them, spawn them, and send them what fb returns."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_processes import GRID, neural, work

import featurebank as fb
from featurebank.bank import Bank

pytestmark = pytest.mark.heavy


@pytest.fixture
def things(make_bank: Callable[..., Bank], photos: Path) -> tuple[Any, ...]:
    bank = make_bank()
    runs = fb.train_heads(bank, GRID)
    return bank, fb.load_dataset(photos), runs[0], runs[0].load()


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_another_process_reads_predicts_and_trains(method: str, things: tuple[Any, ...]) -> None:
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        there = pool.apply_async(work, things).get(timeout=120)
    here = work(*things)
    assert there == {**here, "features": pytest.approx(here["features"])}


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_after_tensorflow_trains_no_network_and_says_so(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank()
    assert neural(bank, 1) == "trained"  # by which TensorFlow is imported
    with multiprocessing.get_context("fork").Pool(1) as pool:
        message = pool.apply_async(neural, (bank, 2)).get(timeout=120)
    assert "this process was forked after TensorFlow had been imported" in message
    assert "\n" not in message


def test_what_is_sent_is_small_and_equal(things: tuple[Any, ...]) -> None:
    bank, dataset, run, head = things
    again = [pickle.loads(pickle.dumps(one)) for one in things]
    assert again[0].path == bank.path
    np.testing.assert_array_equal(again[0].features(), bank.features())
    np.testing.assert_array_equal(again[1].image(0), dataset.image(0))
    assert again[2] == run
    np.testing.assert_array_equal(again[3].predict(bank.features()), head.predict(bank.features()))
    assert len(pickle.dumps(run)) < 10_000, "without its head"
