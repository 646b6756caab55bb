"""The model, data and options of a fine-tune, and its evaluation on the validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featurebank import metrics
from featurebank.extraction.source_images import SourceImages
from featurebank.finetuning.images import batches
from featurebank.finetuning.options import FinetuneOptions
from featurebank.finetuning.phases import Phase
from featurebank.finetuning.program import TrainedModel
from featurebank.training.monitors import ACCURACY, COMPUTED, LOSS, metric_name

_BATCH = 32
"""Images per forward pass."""
_TIE = 1e-7
"""Weight of the loss relative to the accuracy: less than one image."""


@dataclass(frozen=True)
class ValidationResult:
    """The result of a model on the validation images."""

    probabilities: np.ndarray
    accuracy: float
    loss: float
    """The plain cross-entropy."""
    objective: float
    """The cross-entropy with label smoothing: `val_loss`, as in Keras."""
    monitored: float = math.nan
    """The monitored metric if it is neither of these, the lower the better."""

    def value(self, monitor: str) -> float:
        """Returns the monitored value, the lower the better; NaN if the loss is not finite."""
        if monitor == LOSS or not math.isfinite(self.objective):
            return self.objective
        if monitor != ACCURACY:
            return self.monitored
        return -self.accuracy + _TIE * self.objective / (1 + self.objective)

    def summary(self, monitor: str) -> dict[str, float]:
        """Returns the monitored value, accuracy and loss, as `TrainingState.best` records them."""
        return {"value": self.value(monitor), "accuracy": self.accuracy, "loss": self.loss}

    def epoch_0(self) -> dict[str, float]:
        """Returns accuracy and loss of the head, the first point of a fine-tune's curves."""
        return {"accuracy": self.accuracy, "loss": self.objective}


@dataclass(frozen=True)
class Task:
    """The model, data, phases and options of a fine-tune."""

    network: TrainedModel
    train: SourceImages
    val: SourceImages
    phases: Sequence[Phase]
    options: FinetuneOptions
    weights: np.ndarray | None = None
    """(n,) float32, how much each training image counts; None for 1 each."""
    classes: Sequence[str] = ()
    """The names of the classes, for metrics that name one."""

    @cached_property
    def labels(self) -> np.ndarray:
        """The place of each training image's class among those that the head has seen, (n,) int32."""
        return np.asarray(self.network.places[self.train.labels])

    @cached_property
    def trained(self) -> list[int]:
        """The numbers of the classes that the head has seen, in the order of their places."""
        places = self.network.places
        return [int(number) for number in np.argsort(places, kind="stable") if places[number] >= 0]

    def evaluate(self, part: int = 0, parts: int = 1) -> ValidationResult:
        """Evaluates the model on the validation images, or on one of several equal parts of them.

        Args:
            part: the number of the part, from 0.
            parts: the number of parts. They divide the images in the order of their content digests, so each part is a
                random sample, and together they are all validation images.
        """
        rows = np.array_split(np.arange(len(self.val)), parts)[part]
        if not len(rows):  # there are fewer images than parts
            rows = np.arange(len(self.val))
        probabilities, labels = predict_rows(self.network, self.val, rows), self.val.labels[rows]
        loss, share = _loss(probabilities, labels), float(self.options.label_smoothing)
        even = _even_loss(probabilities[:, self.network.places >= 0]) if share else 0.0
        return ValidationResult(
            probabilities, metrics.accuracy(probabilities, labels), loss, (1 - share) * loss + share * even,
            self._monitored(probabilities, labels),
        )  # fmt: skip

    @cached_property
    def metric(self) -> metrics.Metric | None:
        """The monitored metric if it is neither the loss nor the accuracy.

        Raises:
            UnknownNameError, ConfigError: see `metric_of`.
        """
        return None if self.options.monitor in COMPUTED else self.named_metric

    @property
    def named_metric(self) -> metrics.Metric:
        """The monitored metric, also if it is the loss or the accuracy.

        Raises:
            UnknownNameError, ConfigError: see `metric_of`.
        """
        return metrics.metric_of(metric_name(self.options.monitor), self.classes)

    def _monitored(self, probabilities: np.ndarray, labels: np.ndarray) -> float:
        if self.metric is None or not np.isfinite(probabilities).all():
            return math.nan
        return -self.metric.goodness(self.metric.of(metrics.ImageScores.of(probabilities, labels)))


def predict_rows(network: TrainedModel, images: SourceImages, rows: np.ndarray) -> np.ndarray:
    """Returns the probabilities (m, classes) float64 of the images in some rows, (m,) int."""
    blocks = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    return np.concatenate([network.predict(batch) for batch in batches(images, blocks, None, 0)]).astype(np.float64)


def _even_loss(probabilities: np.ndarray) -> float:
    """Returns the mean cross-entropy with uniform targets: the term that label smoothing adds."""
    return float(-np.log(np.maximum(probabilities, metrics.SMALLEST)).mean())


def _loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return metrics.log_loss(probabilities, labels) if np.isfinite(probabilities).all() else math.nan
