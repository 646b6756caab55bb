"""Evaluation of a fitted head: its metrics on training and validation images."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurebank.errors import HeadError
from featurebank.fitting.data import Features, TrainingData
from featurebank.heads.exact.transforms import row_blocks
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.metrics import ImageScores, pack
from featurebank.metrics.scores import scores_of, short_scores_of
from featurebank.metrics.significance import share_interval
from featurebank.system.progress import detail

SCORED_TRAINING_ROWS = 10_000
"""Maximum number of images for training accuracy, whose purpose is to show over-fitting: k neighbours or a kernel would
take longer to evaluate all training images than to train. Rows are in the order of their digests, which is random."""


BLOCK = 1 << 20
"""Maximum number of probabilities that are computed at a time."""
HELD = 1 << 26
"""Maximum number of probabilities of the validation images that are held in memory."""


class Scores(dict[str, dict[str, Any]]):
    """The metrics of a head by split, as in a run's record."""

    right: str
    """See `RunRecord.right`."""
    images: ImageScores | None
    """The validation images; None after the run was recorded."""


def score(head: Any, data: TrainingData) -> Scores:
    """Returns the metrics of a fitted head on training and validation images.

    Raises:
        HeadError: its probabilities are not finite.
    """
    X, y = data.X[:SCORED_TRAINING_ROWS], data.y[:SCORED_TRAINING_ROWS]
    detail("scoring")  # convolutions take long
    train, val = evaluate(head, X, y, data.classes), _evaluate_validation(head, data)
    scores = scores_of(val)
    scores["accuracy_interval"] = list(share_interval(val.right.astype(float), data.groups_val) or (0.0, 1.0))
    if data.groups_val is not None:
        scores["groups"] = len(np.unique(data.groups_val))
    result = Scores(train=short_scores_of(train), val=scores)
    result.right, result.images = pack(val.right), val
    detail("")
    return result


def evaluate(
    head: Any, X: Features, y: np.ndarray, classes: int, passes: Passes | None = None, *, hold: bool = False
) -> ImageScores:  # fmt: skip
    """Evaluates a fitted head on images, in blocks that limit the memory for probabilities.

    Args:
        head: the fitted head.
        X: (n, ...) features.
        y: (n,) labels.
        classes: the number of classes of the bank.
        passes: over `X`, if these are vectors that stay in the bank.
        hold: whether the probabilities are held; see `ImageScores.probabilities`.

    Raises:
        HeadError: its probabilities are not finite.
    """
    if isinstance(X, StoredVectors) and len(y):
        return _evaluate_stored(head, passes or Passes(X), y, classes, hold=hold)
    parts = [(X[rows], y[rows]) for rows in row_blocks(len(y), classes, BLOCK)] or [(X, y)]
    return ImageScores.joined(
        [_image_scores(head, head.predict_proba(part), labels, classes, hold=hold) for part, labels in parts]
    )


def _evaluate_stored(head: Any, passes: Passes, y: np.ndarray, classes: int, *, hold: bool) -> ImageScores:
    parts: list[ImageScores] = []
    passes.run(
        lambda block: _image_scores(head, head.predict_proba(block.X), y[block.rows], classes, hold=hold),
        parts.append, what="scoring", width=4 * classes,
    )  # fmt: skip
    return ImageScores.joined(parts)


def _image_scores(head: Any, probabilities: np.ndarray, labels: np.ndarray, classes: int, *, hold: bool) -> ImageScores:
    if not np.isfinite(probabilities).all():
        message = "its probabilities are not finite"
        raise HeadError(message)
    return ImageScores.of(align(probabilities, head.classes_, classes), labels, hold=hold)


def _evaluate_validation(head: Any, data: TrainingData) -> ImageScores:
    hold = len(data.y_val) * data.classes <= HELD
    if head.saw_validation:
        probabilities = head.predict_validation(data.X_val, data.y_val)
        return _image_scores(head, probabilities, data.y_val, data.classes, hold=hold)
    return evaluate(head, data.X_val, data.y_val, data.classes, data.validation_passes, hold=hold)


def align(probabilities: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Returns probabilities over all classes, (n, classes), 0 for classes that are unknown to the head."""
    aligned = np.zeros((len(probabilities), classes), np.float64)
    aligned[:, present] = probabilities
    return aligned
