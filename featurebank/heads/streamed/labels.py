"""Labels of millions of images, and the images whose classes a head knows, without large temporary arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.inputs import known_rows
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.words import counted

_LABELS = 1 << 20
"""Labels that are looked up at a time."""


def encoded(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct labels in ascending order, and the position of each label among them, (n,) int32.

    `np.unique` returns the same, and takes twenty bytes a label meanwhile.
    """
    parts = np.array_split(y, -(-len(y) // _LABELS))
    classes = np.unique(np.concatenate([np.unique(part) for part in parts]))
    return classes, np.concatenate([np.searchsorted(classes, part).astype(np.int32) for part in parts])


def known_vectors(classes: np.ndarray, X: Any, y: np.ndarray, width: int) -> tuple[Any, np.ndarray] | None:
    """Keeps the validation images whose class is among the trained ones; see `known_rows`.

    Args:
        classes: the trained ones, sorted.
        X: (n, d) features, or `StoredVectors`, which are checked as they are read.
        y: (n,) labels.
        width: the d that the head was trained on.

    Returns:
        Features (m, d) float32 or `StoredVectors`, and positions in `classes` (m,) int32; None where no row is left.

    Raises:
        HeadInputError: the features are of another width, or those in memory are not finite.
    """
    if not isinstance(X, StoredVectors):
        known = known_rows(classes, X, y, width)
        return known and (known[0], known[1].astype(np.int32))
    if X.shape[1] != width:
        message = f"features have {counted(X.shape[1], 'column')}, the head was trained on {width}"
        raise HeadInputError(message)
    in_classes = np.isin(y, classes)
    if not in_classes.any():
        return None
    return X if in_classes.all() else X[in_classes], np.searchsorted(classes, y[in_classes]).astype(np.int32)
