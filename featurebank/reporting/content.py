"""What a report shows: plain values without HTML, gathered by `gathering`; `page` lays them out and escapes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurebank.reporting.content_doubts import SetsAndAnswers


@dataclass(frozen=True)
class ReportPicture:
    """An image of the bank, or the reason why it cannot be shown."""

    id: str
    label: str
    image: np.ndarray | None
    """(h, w, 3) uint8 thumbnail; None if the image is gone or cannot be read."""
    reason: str = ""
    """Why there is no image, as "the file is gone"."""


@dataclass(frozen=True)
class Fact:
    """One line of a list of facts."""

    name: str
    value: str
    details: str = ""
    """Text that is folded away, such as a digest."""


@dataclass(frozen=True)
class Conclusion:
    """The head of a section: a title and one sentence that says what to conclude."""

    title: str
    sentence: str


@dataclass(frozen=True)
class WhatRan:
    """What was run: dataset, network, splits, bank, versions, seconds."""

    conclusion: Conclusion
    facts: Sequence[Fact]
    classes: Sequence[str]
    counts: Mapping[str, Sequence[int]]
    """The number of images of each class, by split."""
    samples: Mapping[str, Sequence[int]]
    """Numbers of pictures, by class."""


@dataclass(frozen=True)
class Winner:
    """The chosen run."""

    conclusion: Conclusion
    facts: Sequence[Fact]
    """The first one is shown large: validation accuracy, with its interval as details."""
    run: str
    indistinguishable: Sequence[str]
    """Titles of heads that cannot be told apart from it, at most a handful."""
    more_indistinguishable: int = 0


@dataclass(frozen=True)
class BoardRow:
    """One head of the leaderboard, over its seeds and folds."""

    run: str
    """The id of its best run; unique in the table."""
    head: str
    """The short name with its parameters."""
    kind: str
    tap: str
    accuracy: float | None
    """Mean validation accuracy; None for a failed run."""
    interval: tuple[float, float] | None
    train: float | None
    verdict: str
    """"fits", "over-fits", "under-fits", "at chance" or "failed"."""
    indistinguishable: bool
    seconds: float
    parameters: float | None
    values: Mapping[str, Any] = field(default_factory=dict)
    """Further columns by name: other metrics, seeds."""
    failure: str = ""
    curves: Mapping[str, Sequence[float | None]] | None = None
    """"loss", "accuracy", "val_loss", "val_accuracy" by epoch, thinned and rounded; None for a head without epochs."""
    epochs: Sequence[int] = ()
    """The epoch of each value of the curves, from 1."""
    best_epoch: int = 0
    overfits_from: int = 0
    """The epoch from which validation loss rises while training loss falls; 0 if it does not."""


@dataclass(frozen=True)
class Board:
    """The leaderboard, and what the grid teaches."""

    conclusion: Conclusion
    rows: Sequence[BoardRow]
    """Best first, then the failed ones."""
    hidden: int
    """Number of heads beyond the last row."""
    by_cost: Sequence[tuple[str, Any]]
    """The charts of `accuracy_against`, by cost, side by side. The id of each point is the `run` of a row."""
    axes: Sequence[tuple[str, str, Any]]
    """For each axis of the grid: its name, one sentence, and a chart."""
    axes_conclusion: Conclusion | None = None
    common: Sequence[str] = ()  # parameters that the names omit, with the kinds whose heads all have them
    remarks: Sequence[str] = ()  # what has to be known to read the costs of several banks


@dataclass(frozen=True)
class ConfusionCell:
    """The images of one class that are predicted as one class."""

    true: int
    predicted: int
    count: int
    pictures: Sequence[int]
    """Numbers of the first pictures."""


@dataclass(frozen=True)
class Confusions:
    """The confusion matrix of the chosen run, on validation images."""

    conclusion: Conclusion
    classes: Sequence[str]
    cells: Sequence[ConfusionCell]
    """Cells that are not empty; the most frequent confusions first."""
    whole: bool
    """Whether to show the matrix; otherwise, with more than 30 classes, the list of top confusions."""


@dataclass(frozen=True)
class ClassRow:
    """Results for one class."""

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None
    confused_with: str


@dataclass(frozen=True)
class PerClass:
    """A table with one row for each class."""

    conclusion: Conclusion
    rows: Sequence[ClassRow]


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed."""

    conclusion: Conclusion
    chart: Any


@dataclass(frozen=True)
class Mistake:
    """One image that the chosen run gets wrong."""

    picture: int
    label: str
    predicted: str
    probability: float
    heat: np.ndarray | None = None
    """(h, w, 3) uint8: the picture under its heat map; None without one."""


@dataclass(frozen=True)
class Mistakes:
    """The most confident mistakes."""

    conclusion: Conclusion
    rows: Sequence[Mistake]
    heat_note: str = ""
    """What the heat maps show, or why there are none."""


@dataclass(frozen=True)
class ImageMap:
    """The validation images as points in the plane."""

    conclusion: Conclusion
    charts: Sequence[tuple[str, Any]]
    """The name of each projection ("PCA", "t-SNE", "UMAP"), with its chart."""
    pictures: Mapping[str, int] = field(default_factory=dict)
    """The number of the picture of each point, by image id; the page shows it under the mouse."""


@dataclass(frozen=True)
class LabelError:
    """An image whose label is probably wrong."""

    picture: int
    label: str
    suggested: str
    score: float
    """The probability of the suggested class, from a head that was not trained on this image."""


@dataclass(frozen=True)
class NearCopies:
    """Two images of different splits that are nearly the same."""

    first: int
    second: int
    splits: tuple[str, str]
    cosine: float


@dataclass(frozen=True)
class DataDoubts:
    """Likely label errors, and near duplicates across splits."""

    conclusion: Conclusion
    label_errors: Sequence[LabelError]
    near: Sequence[NearCopies]
    notes: Sequence[str] = ()
    """What was not looked at, and why."""


@dataclass(frozen=True)
class Savings:
    """What one extraction saved."""

    conclusion: Conclusion
    facts: Sequence[Fact]
    chart: Any | None = None


OfAnswers = Confusions | PerClass | Calibration | SetsAndAnswers | Mistakes
Section = WhatRan | Winner | Board | OfAnswers | ImageMap | DataDoubts | Savings


@dataclass(frozen=True)
class BankReport:
    """Everything about one bank."""

    name: str
    sections: Sequence[Section]
    """In the order of the page; a section without content is left out."""
    pictures: Sequence[ReportPicture]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ComparedBank:
    """One line of the comparison of banks."""

    name: str
    dataset: str
    backbone: str
    tap: str
    """Of the best head."""
    head: str
    accuracy: float
    interval: tuple[float, float]
    seconds: float | None
    """Of the extraction; None if they were not measured."""
    bytes_per_image: float
    place: int
    """The place of the bank's part among those of the report, from 0."""


@dataclass(frozen=True)
class Comparison:
    """Several banks side by side."""

    conclusion: Conclusion
    banks: Sequence[ComparedBank]
    board: Board | None = None  # of all banks together; None if they do not hold the same images


@dataclass(frozen=True)
class ReportContent:
    """The whole report."""

    title: str
    created: str
    """In UTC."""
    version: str
    banks: Sequence[BankReport]
    comparison: Comparison | None = None
    key: str = ""
    """The digest of everything that the report was made from. The page has it at its beginning, within 4096 bytes, as
    `<meta name="featurebank-report" content="KEY">`: a file with it is a report, up to date if the key is equal."""
