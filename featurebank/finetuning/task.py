"""What is trained on what, and how good it is on the validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featurebank import metrics
from featurebank.extraction.source_images import Originals
from featurebank.finetuning.images import batches
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.phases import Phase
from featurebank.finetuning.program import TrainedModel

_JUDGED = 32
"""Images that are judged at once."""
_TIE = 1e-7
"""What the loss weighs beside the accuracy: less than an image."""


@dataclass(frozen=True)
class ValidationResult:
    """What a model says of the validation images."""

    probabilities: np.ndarray
    accuracy: float
    loss: float
    """The plain cross-entropy."""
    objective: float
    """The cross-entropy with label smoothing: `val_loss`, as in Keras."""

    def value(self, monitor: str) -> float:
        """Returns what is watched, the lower the better; NaN where the loss is no number."""
        if monitor == "val_loss" or not math.isfinite(self.objective):
            return self.objective
        return -self.accuracy + _TIE * self.objective / (1 + self.objective)

    def epoch_0(self) -> dict[str, float]:
        """Returns accuracy and loss of the head, with which the curves of a fine-tune begin."""
        return {"accuracy": self.accuracy, "loss": self.objective}


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how."""

    network: TrainedModel
    train: Originals
    val: Originals
    phases: Sequence[Phase]
    options: FinetuneOptions

    def judge(self, part: int = 0, parts: int = 1) -> ValidationResult:
        """Evaluates the model on the validation images, or on one of several equal parts of them.

        Args:
            part: which part, counted from 0.
            parts: how many parts there are. They are stretches in the order of the content digests, so each of them is
                a random sample, and all of them together are all validation images.
        """
        rows = np.array_split(np.arange(len(self.val)), parts)[part]
        if not len(rows):  # there are fewer images than parts
            rows = np.arange(len(self.val))
        said, labels = judge(self.network, self.val, rows), self.val.labels[rows]
        loss, share = _loss(said, labels), float(self.options.label_smoothing)
        even = _even_loss(said[:, self.network.places >= 0]) if share else 0.0
        return ValidationResult(said, metrics.accuracy(said, labels), loss, (1 - share) * loss + share * even)


def judge(network: TrainedModel, images: Originals, rows: np.ndarray) -> np.ndarray:
    """Returns the probabilities (m, classes) float64 of the images in some rows, (m,) int."""
    blocks = [rows[start : start + _JUDGED] for start in range(0, len(rows), _JUDGED)]
    return np.concatenate([network.judge(batch) for batch in batches(images, blocks, None, 0)]).astype(np.float64)


def _even_loss(probabilities: np.ndarray) -> float:
    """Returns the mean cross-entropy with all classes alike: what label smoothing adds for its share."""
    return float(-np.log(np.maximum(probabilities, metrics.SMALLEST)).mean())


def _loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return metrics.log_loss(probabilities, labels) if np.isfinite(probabilities).all() else math.nan
