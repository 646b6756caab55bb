"""Judging a fitted head: its metrics on training and validation images."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.errors import HeadError
from featurebank.heads.calibration import CalibratedHead
from featurebank.heads.data import TrainingData
from featurebank.heads.runs import pack

SCORED_TRAINING_ROWS = 10_000
"""Training accuracy is measured on so many images at most: it serves to see over-fitting, and k neighbours or a
kernel would take longer to look at every training image than to be trained. Rows lie in the order of their digests,
which is random."""


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
    train, val = head.predict_proba(X), _validated(head, data)
    if not (np.isfinite(train).all() and np.isfinite(val).all()):
        message = "its probabilities are not finite"
        raise HeadError(message)
    train, val = (align(found, head.classes_, data.classes) for found in (train, val))
    scores = metrics.scores(val, data.y_val)
    scores["accuracy_interval"] = list(metrics.proportion_interval(scores["accuracy"], len(val)))
    found = Scores(train=metrics.short_scores(train, y), val=scores)
    found.right = pack(val.argmax(axis=1) == data.y_val)
    return found


def _validated(head: Any, data: TrainingData) -> np.ndarray:
    apart = isinstance(head, CalibratedHead)  # it has seen the validation images
    return np.asarray(head.predict_apart(data.X_val, data.y_val) if apart else head.predict_proba(data.X_val))


def align(probabilities: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Returns probabilities over all classes (n, classes), 0 for those that the head has not seen."""
    aligned = np.zeros((len(probabilities), classes), np.float64)
    aligned[:, present] = probabilities
    return aligned
