"""Counts the images that cannot be used, and ends the extraction when the dataset itself must be at fault.

An image is broken if it cannot be decoded. Some datasets contain many such images, so any number of them is skipped. An
image is lost if its file cannot be read, or has changed. That hints at a missing folder, a failed disk or a table with
wrong paths. So the extraction fails if more than a tenth of the images (and more than `FEW`) are lost, or if all images
after some point are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from featurebank.errors import DatasetError
from featurebank.words import counted

DEFAULT_SHARE = 0.1
FEW = 10
"""The number of lost images that is accepted even in a small dataset, unless the user sets a limit."""
IN_A_ROW = 5
"""The extraction fails if its last images, this many or more, are all lost."""


@dataclass
class BadImages:
    """Counts the bad images of an extraction, and raises an error if there are too many.

    Args:
        images: number of images in the dataset.
        spec: specification of the dataset.
        max_bad: the fraction of broken and lost images together that the user accepts; None for the rule above.

    Example:
        >>> bad_images = BadImages(images=100, spec="photos", max_bad=0.0)
        >>> bad_images.add("a.jpg", "it is truncated", place=3, lost=False)
        Traceback (most recent call last):
        featurebank.errors.DatasetError: 1 of 100 images of 'photos' cannot be used, the first is 'a.jpg': it is ...
    """

    images: int
    spec: str
    max_bad: float | None = None
    broken: int = 0
    lost: int = 0
    first: str = ""
    _lost_at: list[int] = field(default_factory=list)
    _last_good: int = -1

    def add_unreadable(self, count: int, name: str, reason: str) -> None:
        """Counts the images that could not be read before the extraction; `name` and `reason` are of the first one.

        Raises:
            DatasetError: there are too many.
        """
        if count:
            self.lost += count
            self.first = f"'{name}': {reason}"
            self._check("cannot be read")

    def add(self, name: str, reason: str, *, place: int, lost: bool) -> None:
        """Counts one bad image.

        Args:
            name: its id.
            reason: why it is bad.
            place: its position in the order of reading.
            lost: whether its file could not be read (otherwise it could not be decoded).

        Raises:
            DatasetError: there are too many now.
        """
        self.first = self.first or f"'{name}': {reason}"
        if lost:
            self.lost += 1
            self._lost_at.append(place)
        else:
            self.broken += 1
        self._check("could not be read any more" if lost else "cannot be used")

    def good(self, place: int) -> None:
        """Records that the image at a position in the order of reading is good."""
        self._last_good = max(self._last_good, place)

    def end(self) -> None:
        """Checks the last images, when the extraction ends.

        Raises:
            DatasetError: all images after some point are lost.
        """
        at_the_end = sum(place > self._last_good for place in self._lost_at)
        if at_the_end >= IN_A_ROW and self.max_bad is None:
            raise self._error(at_the_end, "at the end could not be read any more")

    def _check(self, what: str) -> None:
        if self.max_bad is not None:
            count, most = self.lost + self.broken, self.max_bad * self.images
        else:
            count, most = self.lost, max(DEFAULT_SHARE * self.images, FEW)
        if count > most:
            raise self._error(count, what)

    def _error(self, count: int, what: str) -> DatasetError:
        share = f"more than {100 * (DEFAULT_SHARE if self.max_bad is None else self.max_bad):g} %"
        message = (
            f"{count} of {counted(self.images, 'image')} of '{self.spec}' {what}, the first is {self.first}: check "
            "that all files are "
            f"there; the features computed so far are kept, and the same command continues; --max-bad accepts {share}"
        )
        return DatasetError(message)
