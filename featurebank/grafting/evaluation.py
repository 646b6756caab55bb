"""How good a model file is on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featurebank import metrics
from featurebank.dataset import Dataset, load_dataset
from featurebank.errors import ConfigError, DatasetError, unknown_name
from featurebank.grafting.prediction import LoadedModel, load_model, run_images
from featurebank.statistics import proportion_interval
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

ALL = "all"


@dataclass(frozen=True)
class OfClass:
    """How the images of one class fare."""

    name: str
    images: int
    recall: float | None
    """The share of its images that are recognised; None without images."""
    precision: float | None
    """The share of right answers among those that name it; None where none does."""


@dataclass(frozen=True)
class Evaluation:
    """What a model says of labelled images, and what is right of it."""

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """95 %, Wilson's."""
    loss: float
    """Cross-entropy."""
    macro_f1: float
    classes: tuple[OfClass, ...]
    """In the order of the model's probabilities."""
    confusion: np.ndarray
    """(classes, classes) int64: a row for each true class, a column for each answer."""
    skipped: tuple[tuple[str, str], ...]
    """Id and reason of images that cannot be read."""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {
            "images": self.images, "accuracy": self.accuracy, "accuracy_interval": list(self.accuracy_interval),
            "loss": self.loss, "macro_f1": self.macro_f1,
            "classes": [
                {"class": one.name, "images": one.images, "recall": one.recall, "precision": one.precision}
                for one in self.classes
            ],
            "confusion": self.confusion.tolist(),
            "skipped": [{"id": name, "reason": reason} for name, reason in self.skipped],
        }  # fmt: skip

    def mistaken(self) -> list[tuple[str, str, int]]:
        """Returns the wrong answers as (true class, answer, images), the most frequent first."""
        wrong = self.confusion * ~np.eye(len(self.confusion), dtype=bool)
        order = np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)]
        names = [one.name for one in self.classes]
        pairs = [divmod(place, len(names)) for place in order.tolist()]
        return [(names[row], names[column], int(wrong[row, column])) for row, column in pairs]


def evaluate(
    model: str | Path | LoadedModel, dataset: Dataset | str, *, split: str = ALL, batch_size: int = 32,
    reporter: Reporter = SILENT,
) -> Evaluation:  # fmt: skip
    """Measures a model file on labelled images.

    Args:
        model: a file that `featurebank.export` wrote, of any format, or what `load_model` made of it.
        dataset: the images; each of its classes has to be one of the model's, by name.
        split: "train", "val" or "test" for the images of one split, "all" for all.
        batch_size: how many images are run at once.
        reporter: where progress is shown.

    Returns:
        Accuracy, loss, what happens to each class; images that cannot be read are listed, and the others go on.

    Raises:
        ConfigError: as `load_model`, or there is no such split.
        DatasetError: as `load_dataset`; a class is none of the model's, or no image can be read.

    Examples:
        >>> found = evaluate("model.keras", "folder:photos")  # doctest: +SKIP
        >>> found.accuracy  # doctest: +SKIP
        0.91
    """
    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    labelled = load_dataset(dataset) if isinstance(dataset, str) else dataset
    labels = _labels(labelled, loaded.classes)
    places = _places(labelled, split)
    rows: list[np.ndarray] = []
    right: list[int] = []
    skipped: list[tuple[str, str]] = []
    for index, answer in run_images(loaded, labelled, places, "evaluate", batch_size=batch_size, reporter=reporter):
        if isinstance(answer, str):
            skipped.append((labelled.ids[index], answer))
        else:
            rows.append(answer)
            right.append(int(labels[index]))
    if not rows:
        reason = f"; the first: {skipped[0][0]}: {skipped[0][1]}" if skipped else ""
        message = f"none of the {counted(len(places), 'image')} of '{labelled.spec}' can be read{reason}"
        raise DatasetError(message)
    return _evaluation(np.stack(rows).astype(np.float64), np.array(right), loaded.classes, skipped)


def _places(dataset: Dataset, split: str) -> list[int]:
    if split == ALL:
        return list(range(len(dataset)))
    if split not in dataset.split_names:
        raise unknown_name("split", split, [*dataset.split_names, ALL])
    found = np.flatnonzero(dataset.splits == dataset.split_names.index(split)).tolist()
    if not found:
        filled = ", ".join(dataset.split_names[place] for place in np.unique(dataset.splits).tolist())
        message = f"split '{split}' of '{dataset.spec}' holds no images: expected one of {filled}, {ALL}"
        raise ConfigError(message)
    return [int(place) for place in found]


def _labels(dataset: Dataset, classes: Sequence[str]) -> np.ndarray:
    """Returns the label of each image among a model's classes."""
    known = {name: place for place, name in enumerate(classes)}
    if strange := [name for name in dataset.classes if name not in known]:
        error = unknown_name("class", strange[0], classes, f"'{dataset.spec}' is to hold classes of the model")
        raise DatasetError(str(error))
    return np.asarray(np.array([known[name] for name in dataset.classes])[dataset.labels])


def _evaluation(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str], skipped: Sequence[tuple[str, str]]
) -> Evaluation:
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    told = confusion.sum(axis=0)
    accuracy = metrics.accuracy(probabilities, labels)
    precisions = [
        float(right / count) if count else None for right, count in zip(confusion.diagonal(), told, strict=True)
    ]
    recalls = metrics.recalls(probabilities, labels)
    found = tuple(map(OfClass, classes, confusion.sum(axis=1).tolist(), recalls, precisions))
    return Evaluation(
        len(labels), accuracy, proportion_interval(accuracy, len(labels)),
        metrics.log_loss(probabilities, labels), metrics.macro_f1(probabilities, labels), found, confusion,
        tuple(skipped),
    )  # fmt: skip
