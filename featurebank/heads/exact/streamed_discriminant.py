"""Linear discriminants with Ledoit and Wolf's covariance of each class, of images that stay in the bank.

The covariance of each class has the size of a Gram matrix. The first pass takes the means and deviations of all
classes, and further passes take the products of as many classes at a time as fit into an eighth of `--ram`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from featurebank.heads.exact.discriminant import shrinkage_of, singular
from featurebank.heads.exact.gram import transform
from featurebank.heads.exact.moments import sums_by_class
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.exact.transforms import Steps, Transform
from featurebank.system.runtime import all_threads, ram_limit
from featurebank.words import counted


def ledoit_wolf(shared: StreamedShared, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Solves as `discriminant.ledoit_wolf` does, with the same arguments and results.

    Raises:
        HeadInputError: the covariance within the classes is singular.
        BankDamagedError, StoppedError: see `Passes.run`.
    """
    from scipy.linalg import cho_factor, cho_solve

    inputs = transform(shared, steps)
    spread = _spread(shared, inputs)
    width, classes, n = spread.means.shape[1], len(shared.classes), shared.total
    total, ridge = np.zeros((width, width)), np.zeros(width)
    # The products of two blocks a thread wait to be added.
    at_once = max(1, ram_limit() // 8 // (8 * width**2 * (1 + 2 * all_threads())))
    for first in range(0, classes, at_once):
        group = range(first, min(first + at_once, classes))
        products, fourth = _products(shared, inputs, spread, group)
        for number, position in enumerate(group):
            scale, count = spread.scales[position], float(shared.counts[position])
            unit = products[number] / np.outer(scale, scale)
            shrinkage, variance = shrinkage_of(unit, float(fourth[number]), count)
            total += products[number] * ((1 - shrinkage) / n)
            ridge += count / n * shrinkage * variance * scale**2
    try:
        return np.asarray(cho_solve(cho_factor(total + np.diag(ridge)), spread.means.T)), spread.means
    except np.linalg.LinAlgError as error:
        raise singular() from error


@dataclass(frozen=True)
class _Spread:
    """The mean and the deviation of each feature in each class."""

    means: np.ndarray
    """(classes, width)"""
    scales: np.ndarray
    """(classes, width), 1 where a feature is constant in the class."""


def _spread(shared: StreamedShared, inputs: Transform) -> _Spread:
    """Returns mean and deviation of each class: the blocks' own are joined, so that no digits are lost."""
    classes = len(shared.classes)
    counts = np.zeros((classes, 1))
    means = squares = np.zeros((classes, 1))

    def work(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values, positions = inputs(shared.passes.vectors.block(rows).X), shared.positions[rows]
        weights = None if shared.weights is None else shared.weights[rows]
        own = np.bincount(positions, weights, minlength=classes)[:, None].astype(np.float64)
        centre = sums_by_class(values, positions, classes, weights) / np.where(own > 0, own, 1)
        return own, centre, sums_by_class((values - centre[positions]) ** 2, positions, classes, weights)

    def add(result: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        nonlocal counts, means, squares
        own, centre, around = result
        both = np.where(counts + own > 0, counts + own, 1)
        shift = centre - means
        squares = squares + around + shift**2 * (counts * own / both)
        means = means + shift * (own / both)
        counts = counts + own

    shared.passes.run_rows(work, add, what="summing up classes", width=4 * len(inputs.mean))
    scales = np.sqrt(squares / counts)
    return _Spread(means, np.where(scales == 0, 1, scales))


def _products(
    shared: StreamedShared, inputs: Transform, spread: _Spread, group: range
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of products within some classes, (m, width, width), and of fourth powers of lengths, (m,)."""
    width = spread.means.shape[1]
    products, fourth = np.zeros((len(group), width, width)), np.zeros(len(group))

    def work(rows: np.ndarray) -> list[tuple[int, np.ndarray, float]]:
        positions = shared.positions[rows]
        chosen = rows[(positions >= group.start) & (positions < group.stop)]
        if not len(chosen):
            return []
        positions = shared.positions[chosen]
        values = inputs(shared.passes.vectors.block(chosen).X) - spread.means[positions]
        lengths = ((values / spread.scales[positions]) ** 2).sum(axis=1)
        if (roots := shared.labels.roots(chosen)) is not None:
            values, lengths = values * roots[:, None], lengths * roots
        order = np.argsort(positions, kind="stable")
        numbers, starts = np.unique(positions[order], return_index=True)
        members = zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)
        return [(number, values[own].T @ values[own], float(lengths[own] @ lengths[own])) for number, own in members]

    def add(results: list[tuple[int, np.ndarray, float]]) -> None:
        for position, product, power in results:
            products[position - group.start] += product
            fourth[position - group.start] += power

    what = f"covariance of {len(group)} of {counted(len(shared.classes), 'class')}"
    shared.passes.run_rows(work, add, what=what, width=6 * width)
    return products, fourth
