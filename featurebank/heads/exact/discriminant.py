"""The solutions of linear discriminant analysis from what the Gram service has."""

from __future__ import annotations

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.exact.coordinates import Reduced, reduced, solve
from featurebank.heads.exact.gram import Gram, gram
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps


def shrunk(shared: Shared, steps: Steps, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """Solves with the covariance (1 - s) W + s tr(W) / d I, W being that within the classes.

    W is the Gram matrix without what lies between the classes, which has the rank of the classes: the factor of the
    one gives the inverse of the other (Woodbury).

    Args:
        shared: the training images.
        steps: what is done to them before.
        shrinkage: s, from 0 to 1.

    Returns:
        Weights (size, classes) of the reduced coordinates, and the classes' means there (classes, size).

    Raises:
        HeadInputError: the covariance is singular.
    """
    coordinates, counts = reduced(shared, steps), shared.counts
    means = shared.once(("means", steps), lambda: _means(shared, coordinates, counts))
    n, width = shared.total, steps.pca or shared.X.shape[1]
    variance = (coordinates.energy - counts @ (means**2).sum(axis=1)) / n / width
    factor = coordinates.factor((1 - shrinkage) / n, shrinkage * variance)
    inner = solve(factor, means.T)
    between = (1 - shrinkage) / n * counts[:, None] * (means @ inner)
    try:
        return inner @ np.linalg.inv(np.eye(len(counts)) - between), means
    except np.linalg.LinAlgError as error:
        raise singular() from error


def _means(shared: Shared, coordinates: Reduced, counts: np.ndarray) -> np.ndarray:
    return np.asarray((coordinates.class_sums(shared.positions, len(counts)) / counts).T)


def ledoit_wolf(shared: Shared, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """Solves with Ledoit and Wolf's covariance of each class, estimated on features of variance 1 in the class.

    Args:
        shared: the training images.
        steps: what is done to them before.

    Returns:
        Weights (d or components, classes) of centred features, and the classes' means there (classes, d or components).
    """
    scatter = gram(shared, steps)
    coordinates = reduced(shared, steps) if steps.pca is not None else None
    width = coordinates.size if coordinates else scatter.d
    counts, total = shared.counts, shared.total
    rows, ridge, means = np.empty((scatter.n, width)), np.zeros(width), np.empty((len(counts), width))
    end = 0
    for position, count in enumerate(counts.tolist()):
        members = np.flatnonzero(shared.positions == position)
        start, end = end, end + len(members)
        part = rows[start:end] = _members(scatter, coordinates, members)
        roots = None if scatter.roots is None else scatter.roots[members]
        means[position] = part.mean(axis=0) if roots is None else roots @ part / count
        part -= means[position] if roots is None else np.outer(roots, means[position])
        scale = part.std(axis=0) if roots is None else np.sqrt((part**2).sum(axis=0) / count)
        scale[scale == 0] = 1
        unit = part / scale
        squares = (unit**2).sum(axis=1) / (1 if roots is None else roots)
        product = unit @ unit.T if len(unit) < width else unit.T @ unit
        shrinkage, variance = shrinkage_of(product, float(squares @ squares), count, width)
        rows[start:end] = part * np.sqrt((1 - shrinkage) / total)
        ridge += count / total * shrinkage * variance * scale**2
    return _solve_sum(rows, ridge, means.T), means


def _members(scatter: Gram, coordinates: Reduced | None, rows: np.ndarray) -> np.ndarray:
    return scatter.centred(rows) if coordinates is None else coordinates.columns(rows).T


def shrinkage_of(product: np.ndarray, fourth: float, n: float, d: int | None = None) -> tuple[float, float]:
    """Returns Ledoit and Wolf's shrinkage of a covariance, and the mean variance (2004, lemma 3.2 on).

    Args:
        product: X'X of the centred rows, or XX'.
        fourth: the sum of the fourth powers of the rows' lengths.
        n: the number of rows, or the sum of their weights.
        d: the number of features; None for the size of `product`.
    """
    d = d or len(product)
    variance = float(np.trace(product)) / n / d
    energy = float((product**2).sum()) / n**2
    noise = (fourth / n - energy) / (n * d)
    distance = (energy - d * variance**2) / d
    noise = min(noise, distance)
    return (noise / distance if noise > 0 else 0.0), variance


def _solve_sum(rows: np.ndarray, ridge: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns (rows' rows + diag(ridge))^-1 right."""
    from scipy.linalg import cho_factor, cho_solve

    n, d = rows.shape
    try:
        if n >= d:
            return np.asarray(cho_solve(cho_factor(rows.T @ rows + np.diag(ridge)), right))
        if not (ridge > 0).all():
            raise singular()
        light = rows / ridge
        inner = cho_factor(np.eye(n) + light @ rows.T)
        plain = right / ridge[:, None]
        return np.asarray(plain - light.T @ cho_solve(inner, rows @ plain))
    except np.linalg.LinAlgError as error:
        raise singular() from error


def singular() -> HeadInputError:
    """Returns the error of a covariance that has no inverse."""
    return HeadInputError("the covariance within the classes is singular: take a larger shrinkage, or 'auto'")
