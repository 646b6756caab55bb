"""The numbers behind dropout: uniform, and a function of seed, step, layer and place alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from featurebank.system.runtime import import_tensorflow


def uniform(*, seeds: tuple[int, ...] = (0,), step: int = 0, layer: int = 1, shape: tuple[int, int] = (64, 256)) -> Any:
    tf = import_tensorflow()
    from featurebank.training import dropout

    like = tf.zeros((len(seeds), *shape))
    return dropout.uniform(like, layer, tf.constant(seeds, tf.int32), tf.constant(float(step))).numpy()


def dropped(rates: tuple[float, ...], shape: tuple[int, int] = (256, 256)) -> Any:
    tf = import_tensorflow()
    from featurebank.training import dropout

    seeds = tf.constant([7] * len(rates), tf.int32)
    return dropout.dropped(tf.ones((len(rates), *shape)), tf.constant(rates), 1, seeds, tf.constant(3.0)).numpy()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(rate: float) -> None:
    values = dropped((rate,))
    count = values.size
    assert abs(np.mean(values == 0) - rate) < 4 * np.sqrt(rate * (1 - rate) / count) + 1e-12
    assert np.allclose(values[values != 0], 1 / (1 - rate))
    assert values.mean() == pytest.approx(1, abs=0.05)


def test_each_head_has_its_rate() -> None:
    shares = (dropped((0.0, 0.25, 0.75)) == 0).mean((1, 2))
    assert shares == pytest.approx([0, 0.25, 0.75], abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("step", [0, 1, 9999])
def test_the_numbers_are_uniform(seed: int, step: int) -> None:
    values = uniform(seeds=(seed,), step=step).ravel()
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    counts = np.bincount((values * 64).astype(int), minlength=64)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_the_numbers_of_neighbours_are_independent() -> None:
    """Neighbours in a row, in a column, and the same place in two steps, layers or seeds."""
    here = uniform()[0]
    pairs = [
        (here[:, :-1], here[:, 1:]),
        (here[:-1], here[1:]),
        (here, uniform(step=1)[0]),
        (here, uniform(layer=2)[0]),
        (here, uniform(seeds=(1,))[0]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_no_two_of_seed_step_and_layer_share_their_numbers() -> None:
    streams = {
        uniform(seeds=(seed,), step=step, layer=layer, shape=(1, 8)).tobytes()
        for seed in range(6)
        for step in range(20)
        for layer in range(3)
    }
    assert len(streams) == 6 * 20 * 3


def test_a_heads_numbers_do_not_depend_on_its_company() -> None:
    together = uniform(seeds=(5, 3, 5))
    assert np.array_equal(together[0], uniform(seeds=(5,))[0])
    assert np.array_equal(together[1], uniform(seeds=(3,))[0])
    assert np.array_equal(together[0], together[2])


def test_the_numbers_are_the_same_under_xla() -> None:
    tf = import_tensorflow()
    from featurebank.training import dropout

    like, seeds = tf.zeros((1, 64, 256)), tf.constant([9], tf.int32)
    compiled = tf.function(lambda step: dropout.uniform(like, 1, seeds, step), jit_compile=True)
    assert np.array_equal(compiled(tf.constant(4.0)).numpy(), uniform(seeds=(9,), step=4))
