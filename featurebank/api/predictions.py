"""What a run predicts for the images of a split: a table, and a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset.pictures import thumbnails_of_files
from featurebank.extraction.source_images import image_paths
from featurebank.metrics import confusion_counts, confusions
from featurebank.runs.leaderboard import data_frame
from featurebank.system.html import Bar, CellTable, Shade, never_fails, picture, render
from featurebank.words import counted

_ROWS = 10
"""Maximum number of rows that are shown."""
_CELLS = 20
"""Maximum number of classes of a confusion matrix that is shown whole."""


class PredictedImage(NamedTuple):
    """One row of `Predictions`."""

    id: str
    label: str
    """The name of the true class."""
    predicted: str
    """The name of the most probable class."""
    probability: float
    """The probability of the predicted class."""
    path: str | None
    """The image's file; None if the image is not a file of its own, or no longer there."""


@dataclass(frozen=True, repr=False, eq=False)
class Predictions:
    """A table of predictions, with one row for each image.

    It can be sliced, and indexed by an array of booleans or positions; an index gives one row, a `PredictedImage`.

    Example:
        >>> table = Predictions(
        ...     "run 0123456789 on val", ("ant", "bee"), ["1.png", "2.png"], np.array([0, 1]),
        ...     np.array([[0.9, 0.1], [0.7, 0.3]]), [None, None],
        ... )
        >>> table.accuracy, table.predicted
        (0.5, array(['ant', 'ant'], dtype='<U3'))
        >>> table.mistakes()
        <Predictions of run 0123456789 on val, mistakes: 1 image>
        id     label  predicted  probability
        2.png  bee    ant        0.7000
    """

    source: str
    """What was predicted, as "run 0123456789 on val"."""
    classes: tuple[str, ...]
    """The names of the classes, in the order of `probabilities`."""
    ids: Sequence[str]
    """The ids of the images, as in `Bank.ids`."""
    targets: np.ndarray
    """(n,) int32, the true classes as indices into `classes`."""
    probabilities: np.ndarray
    """(n, classes) float64."""
    known_paths: Sequence[str | None]
    """Where each image should be; see `paths`."""

    @classmethod
    def of(cls, bank: Bank, positions: np.ndarray, probabilities: np.ndarray, source: str) -> Predictions:
        """Returns the table for images of a bank.

        Args:
            bank: the bank.
            positions: (n,) positions in `bank.ids()`.
            probabilities: (n, classes).
            source: what was predicted, for people.
        """
        ids = bank.ids_at(positions)
        return cls(source, bank.classes, ids, bank.labels()[positions], probabilities, image_paths(bank, ids))

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[PredictedImage]:
        return (self[place] for place in range(len(self)))

    @overload
    def __getitem__(self, rows: int) -> PredictedImage: ...

    @overload
    def __getitem__(self, rows: slice | np.ndarray | Sequence[int]) -> Predictions: ...

    def __getitem__(self, rows: int | slice | np.ndarray | Sequence[int]) -> PredictedImage | Predictions:
        if isinstance(rows, int | np.integer):
            one = self[[range(len(self))[rows]]]
            return PredictedImage(
                one.ids[0], str(one.labels[0]), str(one.predicted[0]), float(one.confidence[0]), one.paths[0]
            )
        places = np.arange(len(self))[rows].tolist()
        return replace(
            self, ids=[self.ids[place] for place in places], targets=self.targets[places],
            probabilities=self.probabilities[places], known_paths=[self.known_paths[place] for place in places],
        )  # fmt: skip

    @property
    def labels(self) -> np.ndarray:
        """(n,) names of the true classes."""
        return np.asarray(np.array(self.classes)[self.targets])

    @property
    def predicted(self) -> np.ndarray:
        """(n,) names of the most probable classes."""
        return np.asarray(np.array(self.classes)[self.probabilities.argmax(axis=1)])

    @property
    def confidence(self) -> np.ndarray:
        """(n,) float64, the probabilities of the predicted classes."""
        return np.asarray(self.probabilities.max(axis=1, initial=0.0))

    @property
    def right(self) -> np.ndarray:
        """(n,) bool, whether the prediction is the true class."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    @property
    def accuracy(self) -> float:
        """The fraction of right predictions; NaN without images."""
        return float(np.mean(self.right)) if len(self) else float("nan")

    @property
    def paths(self) -> list[str | None]:
        """The path of each image; None if the image is not a file of its own, or no longer there."""
        return [path if path is not None and Path(path).is_file() else None for path in self.known_paths]

    def mistakes(self) -> Predictions:
        """Returns the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(~self.right)
        table = self[wrong[np.argsort(-self.confidence[wrong], kind="stable")]]
        return replace(table, source=f"{self.source}, mistakes")

    def confusion_matrix(self) -> ConfusionMatrix:
        """Returns the number of images of each class that are predicted as each class."""
        return ConfusionMatrix(confusion_counts(self.probabilities, self.targets), self.classes)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame: id, label, predicted, probability, path, and a column "p(CLASS)" for each class.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        columns = {
            "id": list(self.ids), "label": self.labels, "predicted": self.predicted, "probability": self.confidence,
            "path": self.paths,
        }  # fmt: skip
        return data_frame(columns | {f"p({name})": self.probabilities[:, i] for i, name in enumerate(self.classes)})

    def __repr__(self) -> str:
        rows = [("id", "label", "predicted", "probability")]
        rows += [(row.id, row.label, row.predicted, f"{row.probability:.4f}") for row in self[:_ROWS]]
        lines = [f"<Predictions of {self.source}: {', '.join(self._facts())}>", *_aligned(rows if len(self) else [])]
        return "\n".join([*lines, *self._hidden()])

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        shown = self[:_ROWS]
        paths = shown.paths
        pictures = thumbnails_of_files(paths) if any(paths) else []
        rows = [
            [*([picture(pictures[place], "", row.id)] if pictures else []), row.id, row.label, row.predicted, _bar(row)]
            for place, row in enumerate(shown)
        ]
        columns = [*([""] if pictures else []), "id", "label", "predicted", "probability"]
        table = CellTable(columns, rows, more=" ".join(self._hidden()))
        return render(f"Predictions of {self.source}", facts=self._facts(), blocks=[table] if rows else [])

    def _facts(self) -> list[str]:
        right = int(self.right.sum())
        return [counted(len(self), "image"), *([f"accuracy {self.accuracy:.4f}"] if right else [])]

    def _hidden(self) -> list[str]:
        return [f"... and {counted(len(self) - _ROWS, 'more row')}"] if len(self) > _ROWS else []


def _bar(row: PredictedImage) -> Bar:
    kind = "good" if row.label == row.predicted else "bad"
    return Bar([(kind, row.probability, "")], f"{row.probability:.3f}")


@dataclass(frozen=True, repr=False, eq=False)
class ConfusionMatrix:
    """Counts of true and predicted classes; `np.asarray` gives the array.

    Example:
        >>> ConfusionMatrix(np.array([[3, 1], [0, 2]]), ("ant", "bee"))
        true / predicted  ant  bee
        ant                 3    1
        bee                 0    2
    """

    counts: np.ndarray
    """(classes, classes) int64: a row for each true class, a column for each predicted class."""
    classes: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 - numpy's protocol
        return np.array(self.counts, dtype) if copy or dtype else self.counts

    def most_confused(self) -> list[tuple[str, str, int]]:
        """Returns the confusions as (true class, predicted class, number of images), the most frequent first."""
        return confusions(self.counts, self.classes)

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame: true classes as rows, predicted classes as columns.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        frame = data_frame(dict(zip(self.classes, self.counts.T, strict=True)))
        return frame.set_axis(list(self.classes), axis=0).rename_axis(index="true", columns="predicted")

    def __repr__(self) -> str:
        if len(self.classes) > _CELLS:
            worst = ", ".join(f"{true} as {other} {count}" for true, other, count in self.most_confused()[:_ROWS])
            return f"<ConfusionMatrix of {counted(len(self.classes), 'class')}, most confused: {worst or 'none'}>"
        rows = [("true / predicted", *self.classes)]
        rows += [(name, *map(str, row)) for name, row in zip(self.classes, self.counts.tolist(), strict=True)]
        return "\n".join(_aligned(rows, right=range(1, len(rows[0]))))

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        right = int(self.counts.trace())
        facts = [counted(int(self.counts.sum()), "image"), f"{right} right"]
        table = self._whole() if len(self.classes) <= _CELLS else self._worst()
        return render("Confusion matrix", facts=facts, blocks=[table])

    def _whole(self) -> CellTable:
        """Returns all counts, each shaded by its share of the true class."""
        shares = self.counts / np.maximum(1, self.counts.sum(axis=1, keepdims=True))
        rows = [
            [name, *(Shade(str(count), share, "good" if i == j else "bad") for j, (count, share) in enumerate(cells))]
            for i, (name, cells) in enumerate(zip(self.classes, map(zip, self.counts, shares), strict=True))
        ]
        return CellTable(["true / predicted", *self.classes], rows)

    def _worst(self) -> CellTable:
        """Returns the most frequent confusions."""
        shown = self.most_confused()[:_ROWS]
        most = max([count for *_, count in shown], default=1)
        rows = [[true, other, Bar([("bad", count / most, "")], str(count))] for true, other, count in shown]
        return CellTable(["label", "predicted", "images"], rows, "most confused")


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Returns rows of texts as lines with aligned columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if place in right else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
