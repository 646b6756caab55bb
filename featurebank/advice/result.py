"""What `featurebank advise` finds, as plain values, with the tables that people and programs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from featurebank.advice.learning_curve import Forecast, LearningCurve
from featurebank.advice.tables import TABLES, plain
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
        (30, 0, None)
        >>> list(advice.to_json())[:3]
        ['bank', 'tap', 'images']
        >>> advice.to_frame("outliers").columns[:2].tolist(), advice.table("confusions")[0][:2]
        (['path', 'label'], ('first', 'second'))
        >>> advice.write_csv("doubts.csv").name, advice.write_page("doubts.html").name
        ('doubts.csv', 'doubts.html')
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
        if name not in tuple(TABLES):  # also of a value that is no text
            raise unknown_name("table", name, tuple(TABLES))
        columns, rows = TABLES[name]
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
            name: [dict(zip(columns, map(plain, row), strict=True)) for row in rows(self)]
            for name, (columns, rows) in TABLES.items()
        }
        return {
            "bank": shown_path(self.bank.path), "tap": self.tap, "images": self.images,
            "accuracy": self.accuracy, "sentences": list(self.sentences), "notes": list(self.notes), **tables,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip

    def write_csv(self, path: str | Path, name: str = "label_errors") -> Path:
        """Writes one of the tables as a CSV file.

        That of the doubtful labels is there to be edited: change its column `label` where it is wrong, and hand the
        file to `correct_labels`. The column `label` of the queue is empty, to be filled in.

        Args:
            path: the file; an existing one is replaced.
            name: "label_errors", "queue", or another name of `table`.

        Returns:
            The path.

        Raises:
            UnknownNameError: there is no such table.
            DiskFullError: no space is left on the disk.
        """
        write_csv(Path(path), *self.table(name))
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
