"""Evaluation of a model file on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.certainty.measured import MeasuredCertainty, measured
from featurebank.certainty.record import Certainty
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError, DatasetError, DatasetWarning, unknown_name
from featurebank.grafting.certainty.verdicts import Verdicts
from featurebank.grafting.loaded_model import LoadedModel
from featurebank.grafting.prediction import run_images
from featurebank.grafting.seen.overlap import Overlap
from featurebank.grafting.seen.reader import OriginReader
from featurebank.grafting.seen.record import Origin
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
    """Coverage and size of sets of classes, and the error among answered images, of unseen images if there are seen
    ones, too; None if the model stores nothing about its doubts. Of the validation images of the model it says nothing:
    they were its calibration."""
    unlike: int | None = None
    """The number of images that are unlike those of the training; None if the model does not know."""
    groups: int | None = None
    """The number of groups that the images belong to; None if the dataset has no groups."""
    seen: Overlap | None = None
    """Which of the images the model was trained on or chosen by, and its accuracy on the others; None if the model
    stores nothing about that."""

    def __repr__(self) -> str:
        low, high = self.accuracy_interval
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        seen = f"; {self.seen.summary()}" if self.seen and self.seen.seen else ""
        return (
            f"<Evaluation of {counted(self.images, 'image')}: accuracy {self.accuracy:.4f} ({low:.3f} to {high:.3f}), "
            f"loss {self.loss:.4f}, macro F1 {self.macro_f1:.4f}{skipped}{seen}>"
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
            "seen": self.seen and self.seen.to_dict(),
        }  # fmt: skip

    def mistaken(self) -> list[tuple[str, str, int]]:
        """Returns the confusions as (true class, predicted class, number of images), the most frequent first."""
        return metrics.confusions(self.confusion, [one.name for one in self.classes])


def evaluate_model(
    model: LoadedModel, dataset: Dataset, *, split: str = ALL, batch_size: int = 32, reporter: Reporter = SILENT
) -> Evaluation:
    """Evaluates a model on labelled images; see `featurebank.evaluate`."""
    answers = _answers(model, dataset, split, batch_size, reporter)
    evaluation = _evaluation(answers, model.classes)
    overlap, certainty = evaluation.seen, model.about.certainty
    if overlap is not None and (line := overlap.warning(evaluation.accuracy, split)) is not None:
        reporter.warn(line, DatasetWarning)
    if certainty is None:
        return evaluation
    unlike = answers.unlike if certainty.likeness is not None else None
    return replace(evaluation, certainty=_certainty(answers, certainty, overlap, dataset.spec), unlike=unlike)


@dataclass(frozen=True)
class _Answers:
    """The answers of a model for labelled images, and what is known about these."""

    probabilities: np.ndarray
    """(n, classes) float64."""
    labels: np.ndarray
    """(n,)."""
    groups: np.ndarray | None
    """(n,) the group of each image; None without groups."""
    origins: np.ndarray | None
    """(n,) the `Origin` of each image; None if the model's file does not say."""
    unlike: int
    """The number of images that are unlike those of the training."""
    skipped: tuple[tuple[str, str], ...]
    """Id and reason for each image that cannot be read."""

    @property
    def right(self) -> np.ndarray:
        """Which images are classified correctly, (n,) bool."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.labels)


def _answers(model: LoadedModel, dataset: Dataset, split: str, batch_size: int, reporter: Reporter) -> _Answers:
    """Runs the model on the images of a split.

    Raises:
        ConfigError, DatasetError: see `featurebank.evaluate`.
    """
    labels, places = _labels(dataset, model.classes), _places(dataset, split)
    rows: list[np.ndarray] = []
    read: list[int] = []
    skipped: list[tuple[str, str]] = []
    verdicts, unlike, reader = Verdicts(model.about), 0, OriginReader(dataset, model.about.seen)
    for index, answer in run_images(model, reader.image, places, "evaluate", batch_size=batch_size, reporter=reporter):
        if isinstance(answer, str):
            skipped.append((dataset.ids[index], answer))
        else:
            rows.append(answer.probabilities[0])
            read.append(index)
            unlike += sum(bool(one.unlike) for one in verdicts(answer))
    if not rows:
        reason = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        message = f"none of the {counted(len(places), 'image')} of '{dataset.spec}' can be read{reason}"
        raise DatasetError(message)
    groups = None if dataset.components is None else dataset.components[read]
    probabilities = np.stack(rows).astype(np.float64)
    return _Answers(probabilities, labels[read], groups, reader.origins(read), unlike, tuple(skipped))


def _certainty(answers: _Answers, certainty: Certainty, overlap: Overlap | None, spec: str) -> MeasuredCertainty:
    """Measures the doubts of a model: on unseen images, if there are some beside seen ones."""
    rows, kind = np.arange(len(answers.labels)), ""
    if overlap is not None and overlap.seen and overlap.unseen.images:
        rows, kind = np.flatnonzero(answers.origins == Origin.UNSEEN), "unseen images of "
    groups = None if answers.groups is None else answers.groups[rows]
    return measured(
        certainty, answers.probabilities[rows], answers.labels[rows], groups=groups, source=f"of {kind}{spec}"
    )


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


def _evaluation(answers: _Answers, classes: Sequence[str]) -> Evaluation:
    probabilities, labels, groups = answers.probabilities, answers.labels, answers.groups
    confusion = metrics.confusion_counts(probabilities, labels)
    predicted = confusion.sum(axis=0)
    precisions = [
        float(right / count) if count else None for right, count in zip(confusion.diagonal(), predicted, strict=True)
    ]
    recalls = metrics.recalls(probabilities, labels)
    of_classes = tuple(map(OfClass, classes, confusion.sum(axis=1).tolist(), recalls, precisions))
    interval = share_interval(answers.right.astype(float), groups) or (0.0, 1.0)
    return Evaluation(
        len(labels), metrics.accuracy(probabilities, labels), interval, metrics.log_loss(probabilities, labels),
        metrics.macro_f1(probabilities, labels), of_classes, confusion, answers.skipped,
        groups=None if groups is None else len(np.unique(groups)),
        seen=None if answers.origins is None else Overlap.of(answers.origins, answers.right, groups),
    )  # fmt: skip
