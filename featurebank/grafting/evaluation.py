"""Evaluation of a model file on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.certainty.measured import MeasuredCertainty, measured
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError, DatasetError, unknown_name
from featurebank.grafting.certainty.verdicts import Verdicts
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.grafting.prediction import run_images
from featurebank.metrics.significance import share_interval
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

ALL = "all"


@dataclass(frozen=True)
class OfClass:
    """The results for the images of one class."""

    name: str
    images: int
    recall: float | None
    """The fraction of its images that are classified correctly; None without images."""
    precision: float | None
    """The fraction of correct predictions among those of this class; None without such predictions."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The metrics of a model on labelled images."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """The 95 % confidence interval: Wilson's, or that of `GroupEffects` if the dataset has groups."""
    loss: float
    """Cross-entropy."""
    macro_f1: float
    classes: tuple[OfClass, ...]
    """In the order of the model's probabilities."""
    confusion: np.ndarray
    """(classes, classes) int64: a row for each true class, a column for each predicted class."""
    skipped: tuple[tuple[str, str], ...]
    """Id and reason for each image that cannot be read."""
    certainty: MeasuredCertainty | None = None
    """Coverage and size of sets of classes, and the error among answered images; None if the model stores nothing
    about its doubts. Of the validation images of the model it says nothing: they were its calibration."""
    unlike: int | None = None
    """The number of images that are unlike those of the training; None if the model does not know."""
    groups: int | None = None
    """The number of groups that the images belong to; None if the dataset has no groups."""

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return (
            f"<Evaluation of {counted(self.images, 'image')}: accuracy {self.accuracy:.4f} ({low:.3f} to {high:.3f}), "
            f"loss {self.loss:.4f}, macro F1 {self.macro_f1:.4f}{skipped}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns the evaluation as JSON values."""
        return {
            "images": self.images, **({} if self.groups is None else {"groups": self.groups}),
            "accuracy": self.accuracy, "accuracy_interval": list(self.accuracy_interval),
            "loss": self.loss, "macro_f1": self.macro_f1,
            "classes": [
                {"class": one.name, "images": one.images, "recall": one.recall, "precision": one.precision}
                for one in self.classes
            ],
            "confusion": self.confusion.tolist(),
            "skipped": [{"id": name, "reason": reason} for name, reason in self.skipped],
            "certainty": self.certainty and self.certainty.to_dict(), "unlike": self.unlike,
        }  # fmt: skip

    def mistaken(self) -> list[tuple[str, str, int]]:
        """Returns the confusions as (true class, predicted class, number of images), the most frequent first."""
        return metrics.confusions(self.confusion, [one.name for one in self.classes])


def evaluate_model(
    model: LoadedModel, dataset: Dataset, *, split: str = ALL, batch_size: int = 32, reporter: Reporter = SILENT
) -> Evaluation:
    """Evaluates a model on labelled images; see `featurebank.evaluate`."""
    labels = _labels(dataset, model.classes)
    places = _places(dataset, split)
    rows: list[np.ndarray] = []
    read: list[int] = []
    labels_of_rows: list[int] = []
    skipped: list[tuple[str, str]] = []
    verdicts, unlike = Verdicts(model.about), 0
    for index, answer in run_images(model, dataset, places, "evaluate", batch_size=batch_size, reporter=reporter):
        if isinstance(answer, str):
            skipped.append((dataset.ids[index], answer))
        else:
            rows.append(answer.probabilities[0])
            labels_of_rows.append(int(labels[index]))
            read.append(index)
            unlike += sum(bool(one.unlike) for one in verdicts(answer))
    if not rows:
        reason = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        message = f"none of the {counted(len(places), 'image')} of '{dataset.spec}' can be read{reason}"
        raise DatasetError(message)
    probabilities, of_rows = np.stack(rows).astype(np.float64), np.array(labels_of_rows)
    groups = None if dataset.components is None else dataset.components[read]
    evaluation = _evaluation(probabilities, of_rows, model.classes, skipped, groups)
    if (certainty := model.about.certainty) is None:
        return evaluation
    sure = measured(certainty, probabilities, of_rows, groups=groups, source=f"of {dataset.spec}")
    return replace(evaluation, certainty=sure, unlike=unlike if certainty.likeness is not None else None)


def _places(dataset: Dataset, split: str) -> list[int]:
    if split == ALL:
        return [int(place) for place in np.flatnonzero(dataset.labels >= 0)]
    if split not in dataset.split_names:
        raise unknown_name("split", split, [*dataset.split_names, ALL])
    positions = np.flatnonzero(dataset.splits == dataset.split_names.index(split)).tolist()
    if not positions:
        codes = np.unique(dataset.splits[dataset.labels >= 0]).tolist()
        filled = ", ".join(dataset.split_names[code] for code in codes)
        message = f"split '{split}' of '{dataset.spec}' has no images: expected one of {filled}, {ALL}"
        raise ConfigError(message)
    return [int(place) for place in positions]


def _labels(dataset: Dataset, classes: Sequence[str]) -> np.ndarray:
    """Returns the label of each image as an index into the model's classes, (n,)."""
    known = {name: place for place, name in enumerate(classes)}
    if strange := [name for name in dataset.classes if name not in known]:
        error = unknown_name("class", strange[0], classes, f"'{dataset.spec}' must have only classes of the model")
        raise DatasetError(str(error))
    return np.asarray(np.array([known[name] for name in dataset.classes])[dataset.labels])


def _evaluation(
    probabilities: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    skipped: Sequence[tuple[str, str]],
    groups: np.ndarray | None = None,
) -> Evaluation:
    confusion = metrics.confusion_counts(probabilities, labels)
    predicted = confusion.sum(axis=0)
    accuracy = metrics.accuracy(probabilities, labels)
    precisions = [
        float(right / count) if count else None for right, count in zip(confusion.diagonal(), predicted, strict=True)
    ]
    recalls = metrics.recalls(probabilities, labels)
    of_classes = tuple(map(OfClass, classes, confusion.sum(axis=1).tolist(), recalls, precisions))
    interval = share_interval((probabilities.argmax(axis=1) == labels).astype(float), groups) or (0.0, 1.0)
    return Evaluation(
        len(labels), accuracy, interval,
        metrics.log_loss(probabilities, labels), metrics.macro_f1(probabilities, labels), of_classes, confusion,
        tuple(skipped), groups=None if groups is None else len(np.unique(groups)),
    )  # fmt: skip
