"""Judging a fitted head: its metrics on training and validation images."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.errors import HeadError
from featurebank.fitting.data import Features, TrainingData
from featurebank.heads.exact.transforms import row_blocks
from featurebank.statistics import proportion_interval
from featurebank.system.progress import detail

SCORED_TRAINING_ROWS = 10_000
"""Training accuracy is measured on so many images at most: it serves to see over-fitting, and k neighbours or a
kernel would take longer to look at every training image than to be trained. Rows lie in the order of their digests,
which is random."""


BLOCK = 1 << 20
"""Probabilities that are held at once."""


class Scores(dict[str, dict[str, Any]]):
    """The metrics of a head by split, as a run's record holds them."""

    right: str
    """See `Run.right`."""


def score(head: Any, data: TrainingData) -> Scores:
    """Returns the metrics of a fitted head on training and validation images.

    Raises:
        HeadError: its probabilities are not finite.
    """
    X, y = data.X[:SCORED_TRAINING_ROWS], data.y[:SCORED_TRAINING_ROWS]
    detail("scoring")  # convolutions take their time
    train, val = judged(head, X, y, data.classes), _validated(head, data)
    scores = val.scores()
    scores["accuracy_interval"] = list(proportion_interval(scores["accuracy"], scores["images"]))
    found = Scores(train=train.short_scores(), val=scores)
    found.right = metrics.pack(val.right)
    detail("")
    return found


def judged(head: Any, X: Features, y: np.ndarray, classes: int) -> metrics.Judged:
    """Judges images by a fitted head, some at a time: probabilities are one number for each image and class.

    Args:
        head: fitted.
        X: (n, ...) features.
        y: (n,) labels.
        classes: how many the bank has.

    Raises:
        HeadError: its probabilities are not finite.
    """
    parts = [(X[rows], y[rows]) for rows in row_blocks(len(y), classes, BLOCK)] or [(X, y)]
    return metrics.Judged.joined([_judged(head, head.predict_proba(part), labels, classes) for part, labels in parts])


def _judged(head: Any, found: np.ndarray, labels: np.ndarray, classes: int) -> metrics.Judged:
    if not np.isfinite(found).all():
        message = "its probabilities are not finite"
        raise HeadError(message)
    return metrics.Judged.of(align(found, head.classes_, classes), labels)


def _validated(head: Any, data: TrainingData) -> metrics.Judged:
    if head.saw_validation:
        found = head.predict_validation(np.asarray(data.in_memory.X_val), data.y_val)
        return _judged(head, found, data.y_val, data.classes)
    return judged(head, data.X_val, data.y_val, data.classes)


def align(probabilities: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Returns probabilities over all classes (n, classes), 0 for those that the head has not seen."""
    aligned = np.zeros((len(probabilities), classes), np.float64)
    aligned[:, present] = probabilities
    return aligned
