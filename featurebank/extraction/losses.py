"""When so many images are bad that the dataset, not an image, is at fault.

Broken images are left out, however many: some datasets have them. Images whose files cannot be opened, or are others
by now, tell of a folder that is gone, a disk that has failed or a table with wrong paths: the run fails where they are
more than a tenth (and more than a handful), or where all images from some moment on are lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from featurebank.errors import DatasetError
from featurebank.words import counted

DEFAULT_SHARE = 0.1
FEW = 10
"""So many may be lost of a small dataset, too, unless the user says otherwise."""
IN_A_ROW = 5
"""So many at the end of a run that are lost one after another are no accident."""


@dataclass
class Losses:
    """Counts the bad images of a run.

    Args:
        images: of the dataset.
        spec: the dataset.
        max_bad: the share that the user accepts, of broken and lost images together; None for the default.
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
        """Counts images that could not be read when the run began; `name` and `reason` are those of the first.

        Raises:
            DatasetError: they are too many.
        """
        if count:
            self.lost += count
            self.first = f"'{name}': {reason}"
            self._check("cannot be read")

    def add(self, name: str, reason: str, *, place: int, lost: bool) -> None:
        """Counts one image that turned out to be bad.

        Args:
            name: its id.
            reason: why.
            place: in the order in which images are read.
            lost: whether it could not be read, instead of decoded.

        Raises:
            DatasetError: they are too many now.
        """
        self.first = self.first or f"'{name}': {reason}"
        if lost:
            self.lost += 1
            self._lost_at.append(place)
        else:
            self.broken += 1
        self._check("could not be read any more" if lost else "cannot be used")

    def good(self, place: int) -> None:
        """Notes that the image at a place, and maybe others before it, was read."""
        self._last_good = max(self._last_good, place)

    def end(self) -> None:
        """Looks at the end of a run.

        Raises:
            DatasetError: all images from some moment on are lost.
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
            f"{count} of {counted(self.images, 'image')} of '{self.spec}' {what}, the first is {self.first}: is it "
            "all still "
            f"there? What was computed is kept, and the same command goes on; --max-bad accepts {share}"
        )
        return DatasetError(message)
