"""What is trained on what, and how good it is on the validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featurebank import metrics
from featurebank.finetuning.images import batches
from featurebank.finetuning.options import Options
from featurebank.finetuning.phases import Phase
from featurebank.finetuning.program import Network
from featurebank.originals import Originals

_JUDGED = 32
"""Images that are judged at once."""
_TIE = 1e-7
"""What the loss weighs beside the accuracy: less than an image."""


@dataclass(frozen=True)
class Judged:
    """What a model says of the validation images."""

    probabilities: np.ndarray
    accuracy: float
    loss: float

    def value(self, monitor: str) -> float:
        """Returns what is watched, the lower the better; NaN where the loss is no number."""
        if monitor == "val_loss" or not math.isfinite(self.loss):
            return self.loss
        return -self.accuracy + _TIE * self.loss / (1 + self.loss)


@dataclass(frozen=True)
class Task:
    """What is trained, on what, and how."""

    network: Network
    train: Originals
    val: Originals
    phases: Sequence[Phase]
    options: Options

    def judge(self) -> Judged:
        """Judges the validation images."""
        said = judge(self.network, self.val)
        return Judged(said, metrics.accuracy(said, self.val.labels), _loss(said, self.val.labels))


def judge(network: Network, images: Originals, limit: int | None = None) -> np.ndarray:
    """Returns the probabilities (n, classes) of images, or of the first few."""
    count = len(images) if limit is None else min(limit, len(images))
    rows = [np.arange(start, min(start + _JUDGED, count)) for start in range(0, count, _JUDGED)]
    return np.concatenate([network.judge(batch) for batch in batches(images, rows, None, 0)]).astype(np.float64)


def _loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return metrics.log_loss(probabilities, labels) if np.isfinite(probabilities).all() else math.nan
