"""What `featurebank advise` finds, as plain values, with the tables that people and programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from featurebank.advice.learning_curve import Forecast, LearningCurve
from featurebank.errors import unknown_name
from featurebank.runs.leaderboard import data_frame
from featurebank.storage.caches import shown_path
from featurebank.system.csv_files import write_csv
from featurebank.system.html import never_fails

_SENTENCES = 6


class ExaminedImage(NamedTuple):
    """One image of a bank."""

    id: str
    label: str
    split: str
    path: str | None
    """Where the image should be; None if it is not a file of its own."""
    position: int
    """In `Bank.ids()`."""


@dataclass(frozen=True)
class DoubtfulLabel:
    """An image whose label is probably wrong, or one of the least probable ones."""

    image: ExaminedImage
    suggested: str
    """The class that the head finds most probable among the others."""
    probability: float
    """Of the suggested class."""
    belief: float
    """The probability of the label itself."""
    is_doubted: bool = True
    """Whether confident learning doubts the label; otherwise it is only among the least probable ones."""


@dataclass(frozen=True)
class FarImage:
    """An image that resembles no other."""

    image: ExaminedImage
    distance: float
    """The mean distance to the nearest images, one minus the cosine."""
    own: float
    """That to the nearest images of the same class; NaN without one."""
    others: float
    """That to the nearest images of other classes; NaN without one."""


@dataclass(frozen=True)
class LabelConflict:
    """Two equal or nearly equal images with different labels."""

    first: ExaminedImage
    second: ExaminedImage
    cosine: float
    """1 if they are equal byte for byte."""
    are_equal: bool


@dataclass(frozen=True)
class MixedClasses:
    """Two classes that a head mixes up."""

    first: str
    second: str
    first_as_second: int
    second_as_first: int
    images: int
    """The number of images of both classes."""
    share: float
    """Of the images of both, those that are taken for the other class."""
    interval: tuple[float, float]
    """The 95 % interval of this share."""
    separation: float
    """How often the head prefers the right one of the two, a mean of both classes; NaN with fewer than ten images."""
    separation_interval: tuple[float, float]
    cannot_be_separated: bool


@dataclass(frozen=True)
class ClassForecast:
    """What more images, of all classes as they are now, would do for one class."""

    label: str
    images: int
    error: float
    """The share of its images that are not recognised now."""
    forecast: Forecast


@dataclass(frozen=True)
class QueuedImage:
    """An unlabelled image, in the order in which images should be labelled."""

    path: str
    margin: float
    """How much more probable the most probable class is than the second."""
    predicted: str
    group: int
    """The number of its group of similar images, from 1."""


@dataclass(frozen=True)
class Labelling:
    """Which images to label next."""

    queue: tuple[QueuedImage, ...]
    """The most uncertain image of each group first, then the others."""
    unlabelled: int
    """The number of images without a label."""
    known: int
    """The number of those that are left out because the bank has them with a label."""

    @property
    def groups(self) -> int:
        """The number of groups of similar images."""
        return max((image.group for image in self.queue), default=0)


@dataclass(frozen=True, repr=False)
class Advice:
    """What a bank says about its data; `print` and notebooks show it.

    Example:
        >>> advice = fb.advise(fb.extract(fb.load_dataset("photos"), "my_networks:small"))
        >>> advice.images, len(advice.label_errors), advice.curve
        (31, 0, None)
        >>> list(advice.to_json())[:3]
        ['bank', 'tap', 'images']
    """

    bank: Any
    tap: str
    images: int
    """The number of images whose labels were examined: not those of the test split."""
    accuracy: float | None
    """The share of them that a head recognises that was trained without the image; None if they were not examined."""
    sentences: tuple[str, ...]
    """What matters, the most important first."""
    notes: tuple[str, ...]
    """How it was found out, and what was left out."""
    label_errors: tuple[DoubtfulLabel, ...] = ()
    conflicts: tuple[LabelConflict, ...] = ()
    outliers: tuple[FarImage, ...] = ()
    confusions: tuple[MixedClasses, ...] = ()
    curve: LearningCurve | None = None
    forecasts: tuple[Forecast, ...] = ()
    class_forecasts: tuple[ClassForecast, ...] = ()
    labelling: Labelling | None = None
    """None if no images without labels were given."""
    seconds: float = 0.0

    def table(self, name: str) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """Returns the columns and the rows of a table.

        Args:
            name: "label_errors", "conflicts", "outliers", "confusions", "curve", "forecasts", "classes" or "queue".

        Raises:
            UnknownNameError: there is no such table.
        """
        if name not in _TABLES:
            raise unknown_name("table", name, tuple(_TABLES))
        columns, rows = _TABLES[name]
        return columns, rows(self)

    def to_frame(self, name: str = "label_errors") -> Any:
        """Returns one of the tables as a pandas DataFrame; see `table`.

        Raises:
            UnknownNameError: there is no such table.
            MissingDependencyError: pandas is not installed.
        """
        columns, rows = self.table(name)
        return data_frame({column: [row[place] for row in rows] for place, column in enumerate(columns)})

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `featurebank advise --json` prints."""
        tables = {
            name: [dict(zip(columns, map(_plain, row), strict=True)) for row in rows(self)]
            for name, (columns, rows) in _TABLES.items()
        }
        return {
            "bank": shown_path(self.bank.path), "tap": self.tap, "images": self.images,
            "accuracy": self.accuracy, "sentences": list(self.sentences), "notes": list(self.notes), **tables,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def write_csv(self, path: str | Path) -> Path:
        """Writes the doubtful labels as a CSV file, to correct its column `label` and hand it to `correct_labels`.

        With images to label, the file is their queue: its column `label` is empty, to be filled in.

        Returns:
            The path.

        Raises:
            DiskFullError: no space is left on the disk.
        """
        columns, rows = self.table("label_errors" if self.labelling is None else "queue")
        write_csv(Path(path), columns, rows)
        return Path(path)

    def write_page(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes a page with the pictures of the images in question, which needs no other file.

        Args:
            path: the HTML file.
            force: whether an existing file is replaced.

        Returns:
            The path.

        Raises:
            ConfigError: the folder does not exist, or the file exists.
            DiskFullError: no space is left on the disk.
        """
        from featurebank.advice.page import write_page

        return write_page(self, path, force=force)

    def __repr__(self) -> str:
        lines = [f"<Advice on bank {self.bank.name}, tap {self.tap}>", *self.sentences[:_SENTENCES]]
        return "\n".join(lines)

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        from featurebank.advice.display import advice_html

        return advice_html(self)


def _label_errors(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.image.id, one.image.label, one.suggested, round(one.belief, 4), round(one.probability, 4),
         one.image.split, one.is_doubted)
        for one in advice.label_errors
    ]  # fmt: skip


def _conflicts(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (a.id, a.label, a.split, b.id, b.label, b.split, round(one.cosine, 6), one.are_equal)
        for one in advice.conflicts for a, b in [(one.first, one.second)]
    ]  # fmt: skip


def _outliers(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.image.id, one.image.label, one.image.split, *(round(x, 4) for x in (one.distance, one.own, one.others)))
        for one in advice.outliers
    ]


def _confusions(advice: Advice) -> list[tuple[Any, ...]]:
    return [
        (one.first, one.second, one.images, one.first_as_second, one.second_as_first, round(one.share, 4),
         *(round(end, 4) for end in one.interval), round(one.separation, 4), one.cannot_be_separated)
        for one in advice.confusions
    ]  # fmt: skip


def _curve(advice: Advice) -> list[tuple[Any, ...]]:
    curve = advice.curve
    if curve is None:
        return []
    columns = (curve.sizes.tolist(), curve.errors.tolist(), curve.deviations.tolist())
    return [(size, round(error, 5), round(spread, 5)) for size, error, spread in zip(*columns, strict=True)]


def _forecasts(advice: Advice) -> list[tuple[Any, ...]]:
    return [_forecast_row(one) for one in advice.forecasts]


def _forecast_row(one: Forecast) -> tuple[Any, ...]:
    numbers = (one.error, *one.interval, one.gain, *one.gain_interval)
    return (one.images, one.more, *(round(number, 5) for number in numbers))


def _classes(advice: Advice) -> list[tuple[Any, ...]]:
    return [(one.label, one.images, round(one.error, 5), *_forecast_row(one.forecast)[1:])
            for one in advice.class_forecasts]  # fmt: skip


def _queue(advice: Advice) -> list[tuple[Any, ...]]:
    queue = advice.labelling.queue if advice.labelling else ()
    return [(one.path, "", round(one.margin, 4), one.predicted, one.group) for one in queue]


_FORECAST = ("more", "error", "error_low", "error_high", "gain", "gain_low", "gain_high")
_TABLES: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "label_errors": (("path", "label", "suggested", "belief", "probability", "split", "doubted"), _label_errors),
    "conflicts": (
        ("path", "label", "split", "other_path", "other_label", "other_split", "cosine", "equal"), _conflicts
    ),
    "outliers": (("path", "label", "split", "distance", "own", "others"), _outliers),
    "confusions": (
        ("first", "second", "images", "first_as_second", "second_as_first", "share", "share_low", "share_high",
         "separation", "inseparable"), _confusions,
    ),
    "curve": (("images", "error", "deviation"), _curve),
    "forecasts": (("images", *_FORECAST), _forecasts),
    "classes": (("label", "images", "error_now", *_FORECAST), _classes),
    "queue": (("path", "label", "margin", "predicted", "group"), _queue),
}  # fmt: skip
"""The columns and the rows of each table."""


def _plain(value: Any) -> Any:
    """Returns a value of JSON; NaN becomes None."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


def table_names() -> Sequence[str]:
    """Returns the names of the tables of an `Advice`.

    Example:
        >>> table_names()[:2]
        ('label_errors', 'conflicts')
    """
    return tuple(_TABLES)
