"""The table of the metrics. To add a metric, add its entry here."""

from __future__ import annotations

import numpy as np

from featurebank.metrics import formulas
from featurebank.metrics.images import ImageScores
from featurebank.metrics.metric import Metric, averaged, weighted
from featurebank.statistics import CalibrationBins

ACCURACY = averaged("accuracy", lambda images: images.right.astype(float), interval="wilson", on_training_images=True)
"""The default metric of the ranking of runs."""


def _calibration_error(images: ImageScores) -> float:
    return CalibrationBins.of(images.confidence, images.right).error


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        ACCURACY,
        averaged(
            "loss", lambda images: images.losses, larger_is_better=False, on_training_images=True, needs_scores=True,
            scale="positive",
        ),
        weighted("macro_f1", formulas.macro_f1, on_training_images=True, title="macro F1", scale="unit"),
        averaged(
            "top5_accuracy", lambda images: images.among_five.astype(float), interval="wilson", needs_scores=True,
            title="top 5",
        ),
        averaged(
            "brier", lambda images: images.squares, larger_is_better=False, needs_scores=True, scale="positive"
        ),
        Metric(
            "calibration_error", _calibration_error, larger_is_better=False, needs_scores=True, title="calibration",
            interval=None,  # resampling inflates it
        ),
        weighted(
            "balanced_accuracy", formulas.balanced_accuracy, title="balanced", scale="unit",
            from_record=lambda scores: mean_recall(scores.get("recall") or ()),
        ),
        weighted(
            "auroc", formulas.auroc, needs_probabilities=True, needs_scores=True, title="AUROC", scale="unit"
        ),
        weighted(
            "average_precision", formulas.average_precision, needs_probabilities=True, needs_scores=True, title="AP",
            scale="unit",
        ),
    )
}  # fmt: skip
"""Every metric by its name, in the order of a run's record. To add one, add its entry here."""


def mean_recall(recalls: object) -> float | None:
    """Returns the mean of the recorded recalls of the classes that have images; None if there are none."""
    known = [value for value in recalls if value is not None] if isinstance(recalls, list) else []
    return float(np.mean(known)) if known else None
