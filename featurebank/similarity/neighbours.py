"""The images of a bank that are most similar to other images, as lists of plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

from featurebank.dataset.splits import UNLABELLED
from featurebank.runs.leaderboard import data_frame
from featurebank.storage.caches import shown_path
from featurebank.system.html import never_fails
from featurebank.words import counted, one_line

_ROWS = 12
"""Maximum number of neighbours that a text shows."""
_LABELS = 5
"""Maximum number of labels in a sentence."""


class Neighbour(NamedTuple):
    """One similar image."""

    id: str
    label: str
    split: str
    cosine: float
    """From -1 to 1, rounded to nine decimals."""
    path: str | None
    """The image's file; None if the image is not a file of its own, or no longer there."""
    is_copy: bool
    """Whether it has the same content, byte for byte, as the image that it is similar to."""
    position: int
    """The position in `Bank.ids()`."""


@dataclass(frozen=True, repr=False)
class Neighbours(Sequence[Neighbour]):
    """The images that are most similar to one image, the most similar first.

    Example:
        >>> rose = Neighbour("1.jpg", "rose", "train", 0.9, None, False, 0)
        >>> found = Neighbours("mine.jpg", (rose, rose._replace(label="tulip")))
        >>> found.sentence, found[0].label
        ('1 of the 2 most similar images is labelled rose, as many are tulip.', 'rose')
    """

    image: str
    """The path or the id of the image that was searched for."""
    rows: tuple[Neighbour, ...]
    id: str | None = None
    """The id of the image itself, which is not among its neighbours; None if the bank does not have it."""
    label: str | None = None
    """The label of the image itself."""
    split: str | None = None
    """The split of the image itself."""
    position: int | None = None
    """The position of the image itself in `Bank.ids()`."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Neighbour: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Neighbour]: ...

    def __getitem__(self, index: int | slice) -> Neighbour | Sequence[Neighbour]:
        return self.rows[index]

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self.rows)

    @property
    def votes(self) -> dict[str, int]:
        """The number of neighbours of each label, the most frequent first.

        Copies of the image do not vote, and neither do images of a dataset without labels.
        """
        return dict(
            Counter(row.label for row in self.rows if not row.is_copy and row.label != UNLABELLED).most_common()
        )

    @property
    def vote(self) -> str | None:
        """The most frequent label of the neighbours; None if several are equally frequent, or there are none."""
        votes = self.votes
        first = max(votes.values(), default=0)
        winners = [label for label, count in votes.items() if count == first]
        return winners[0] if len(winners) == 1 else None

    @property
    def sentence(self) -> str:
        """What the labels of the neighbours say, in one sentence."""
        votes = self.votes
        total = sum(votes.values())
        if not votes:
            return self._closeness()
        (first, count), others = next(iter(votes.items())), list(votes.items())[1:]
        ties = [one_line(label, 60) for label, other in others if other == count]
        name = one_line(first, 60)
        images = "labelled images" if any(row.label == UNLABELLED for row in self.rows) else "images"
        if total == 1:
            start = f"The most similar {images[:-1]} is labelled {name}"
        elif count == total:
            start = f"{'Both' if total == 2 else f'All {total}'} most similar {images} are labelled {name}"  # noqa: PLR2004
        else:
            start = f"{count} of the {total} most similar {images} {'is' if count == 1 else 'are'} labelled {name}"
        if len(ties) > 2:  # noqa: PLR2004 - names that a sentence can list
            return f"{start}, as many are of each of {len(ties)} other labels."
        if ties:
            return f"{start}, as many are {' and as many '.join(ties)}."
        if self.label is None:
            return f"{start}."
        if self.label == UNLABELLED:
            return f"{start}, and the image itself has no label."
        return f"{start}, as the image itself is." if self.label == first else (
            f"{start}, but the image itself is labelled {one_line(self.label, 60)}."
        )  # fmt: skip

    def _closeness(self) -> str:
        """Returns how near the neighbours are, in one sentence."""
        if not self.rows:
            return "The bank has no other image."
        first, last = f"{self.rows[0].cosine:.2f}", f"{self.rows[-1].cosine:.2f}"
        if len(self) == 1:
            return f"The most similar image has the cosine {first}."
        return f"The {len(self)} most similar images have cosines from {last} to {first}."

    def __repr__(self) -> str:
        lines = [f"<Neighbours of {one_line(self.image, 100)}: {self.sentence}>"]
        lines += [f"{row.cosine:.4f}  {one_line(row.label, 40)}  {row.split}  {row.id}" for row in self.rows[:_ROWS]]
        more = len(self) - _ROWS
        return "\n".join([*lines, *([f"... and {counted(more, 'more image')}"] if more > 0 else [])])

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `featurebank similar --json` prints for one image."""
        neighbours = [
            {"id": row.id, "label": row.label, "split": row.split, "cosine": row.cosine, "path": row.path,
             "copy": row.is_copy} for row in self.rows
        ]  # fmt: skip
        return {
            "image": self.image, "id": self.id, "label": self.label, "split": self.split, "vote": self.vote,
            "votes": self.votes, "sentence": self.sentence, "neighbours": neighbours,
        }  # fmt: skip


@dataclass(frozen=True, repr=False)
class SimilarImages(Sequence[Neighbours]):
    """The neighbours of several images, in the order of the images.

    It is a list: an index gives the `Neighbours` of one image, a slice those of several. Notebooks show the pictures.
    """

    bank: Any
    """The bank that was searched."""
    tap: str
    """The tap whose features were compared."""
    images: tuple[Neighbours, ...]
    queries: Any = None
    """The images that were searched for, for their pictures."""

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> Neighbours: ...

    @overload
    def __getitem__(self, index: slice) -> SimilarImages: ...

    def __getitem__(self, index: int | slice) -> Neighbours | SimilarImages:
        if isinstance(index, slice):
            return SimilarImages(self.bank, self.tap, self.images[index], self.queries)
        return self.images[index]

    def __iter__(self) -> Iterator[Neighbours]:
        return iter(self.images)

    @property
    def sentence(self) -> str:
        """What a reader should conclude, in one sentence."""
        if len(self) == 1:
            return self.images[0].sentence
        if all(one.label is not None for one in self.images):
            same = sum(one.vote == one.label for one in self.images)
            return f"{same} of {counted(len(self), 'image')} have the most frequent label of their neighbours."
        votes = Counter(one.vote or "no single label" for one in self.images).most_common()
        parts = [f"{one_line(label, 60)} {count}" for label, count in votes[:_LABELS]]
        more = [f"{counted(len(votes) - _LABELS, 'other label')}"] if len(votes) > _LABELS else []
        return f"By the most frequent label of their neighbours: {', '.join([*parts, *more])}."

    def to_frame(self) -> Any:
        """Returns a pandas DataFrame with a row for each neighbour.

        Its columns are image, rank, id, label, split, cosine, path and is_copy.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        rows = [(one.image, rank, *row[:-1]) for one in self.images for rank, row in enumerate(one, 1)]
        columns = ("image", "rank", "id", "label", "split", "cosine", "path", "is_copy")
        return data_frame({name: [row[place] for row in rows] for place, name in enumerate(columns)})

    def to_json(self) -> dict[str, Any]:
        """Returns the object that `featurebank similar --json` prints."""
        return {
            "bank": shown_path(self.bank.path), "tap": self.tap, "sentence": self.sentence,
            "images": [one.to_json() for one in self.images],
        }  # fmt: skip

    def write_page(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes a page with the pictures of all images and their neighbours, which needs no other file.

        Args:
            path: the HTML file.
            force: whether an existing file is replaced.

        Returns:
            The path.

        Raises:
            ConfigError: the folder does not exist, or the file exists.
            DiskFullError: no space is left on the disk.
        """
        from featurebank.similarity.pictures import write_page

        return write_page(self, path, force=force)

    def __repr__(self) -> str:
        head = f"<SimilarImages of {counted(len(self), 'image')} in bank {self.bank.name}, tap {self.tap}>"
        more = len(self) - 3
        return "\n".join([head, *map(repr, self.images[:3]), *([f"... and {more} more"] if more > 0 else [])])

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks."""
        from featurebank.similarity.pictures import similar_html

        return similar_html(self)
