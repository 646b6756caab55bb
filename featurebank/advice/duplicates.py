"""Nearly equal images with different labels, inside one split or across splits: at most one label can be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from featurebank.inspection.near_duplicates import NEAR, near_pairs

MOST_PAIRS = 300
"""The maximum number of pairs that are returned."""


@dataclass(frozen=True)
class ContradictingPairs:
    """Pairs of equal or nearly equal images with different labels, the most similar first."""

    first: np.ndarray
    """(k,) int64, rows."""
    second: np.ndarray
    """(k,) int64, rows."""
    cosines: np.ndarray
    """(k,) float64; 1 for equal contents."""
    total: int
    """The number of all pairs; k of them are here."""
    equal: int
    """The number of those with the same content, byte for byte."""
    capped: bool = False
    """Whether there may be more."""


def contradicting_pairs(
    features: np.ndarray,
    labels: np.ndarray,
    contents: np.ndarray,
    *,
    threshold: float = NEAR,
    progress: Callable[[int], None] = lambda count: None,
) -> ContradictingPairs:
    """Finds pairs of equal or nearly equal images with different labels.

    Args:
        features: (n, d) float32.
        labels: (n,) integers.
        contents: (n,) numbers that are equal for images with the same content.
        threshold: the cosine above which images are nearly equal.
        progress: called with the number of further images that were compared.

    Example:
        >>> features = np.array([[1, 0], [1, 0.01], [0, 1]], np.float32)
        >>> pairs = contradicting_pairs(features, np.array([0, 1, 1]), np.arange(3))
        >>> pairs.first, pairs.second, pairs.total
        (array([0]), array([1]), 1)
    """
    same = _equal_pairs(labels, contents)
    near = near_pairs(features, labels, contents, threshold=threshold, keep=MOST_PAIRS, progress=progress)
    first = np.concatenate([[a for a, _ in same], near.first]).astype(np.int64)
    second = np.concatenate([[b for _, b in same], near.second]).astype(np.int64)
    cosines = np.concatenate([np.ones(len(same)), near.cosines.astype(np.float64)])
    shown = slice(MOST_PAIRS)
    return ContradictingPairs(
        first[shown], second[shown], cosines[shown], len(same) + near.total, len(same), near.capped
    )


def _equal_pairs(labels: np.ndarray, contents: np.ndarray) -> list[tuple[int, int]]:
    """Returns the pairs of neighbours, in the order of labels, that have the same content and different labels."""
    order = np.lexsort((labels, contents))
    differ = (contents[order][1:] == contents[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    return [(int(order[place]), int(order[place + 1])) for place in np.flatnonzero(differ).tolist()]
