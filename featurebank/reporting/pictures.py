"""The pictures of a bank's report: each image is read once, however often the page shows it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset.pictures import SIDE, read_pictures
from featurebank.extraction.source_images import picture_sources
from featurebank.reporting.content import ReportPicture
from featurebank.system.progress import SILENT, Reporter

SMALL = 44
"""The side in pixels of pictures that appear only under the mouse."""
LIMIT_S = 20.0
"""No further picture is begun after this time: a network disk may be slow."""


class Gallery:
    """Collects the images that the sections show, and reads them all at the end.

    Args:
        bank: the bank.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._numbers: dict[int, int] = {}
        self._sides: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, position: int, *, small: bool = False) -> int:
        """Returns the number of an image's picture.

        Args:
            position: the position of the image in `Bank.ids()`.
            small: whether a small picture is enough; it becomes larger if another section needs that.
        """
        position = int(position)
        number = self._numbers.setdefault(position, len(self._numbers))
        self._sides[position] = max(self._sides.get(position, 0), SMALL if small else SIDE)
        return number

    def add_all(self, positions: Iterable[int], *, small: bool = False) -> list[int]:
        """Returns the numbers of several pictures."""
        return [self.add(position, small=small) for position in positions]

    def read(self, reporter: Reporter = SILENT) -> list[ReportPicture]:
        """Returns the pictures by their numbers; an image that is not available has the reason in place of pixels."""
        positions = list(self._numbers)
        ids, labels = self._bank.ids_at(positions), self._bank.labels()[np.asarray(positions, np.int64)]
        with reporter.track("pictures", len(positions), "images") as advance:
            sources = picture_sources(self._bank, positions)
            images = read_pictures(
                sources, [self._sides[position] for position in positions], limit_s=LIMIT_S, progress=advance
            )
        return [
            ReportPicture(name, self._bank.classes[label], None, image)
            if isinstance(image, str)
            else ReportPicture(name, self._bank.classes[label], image)
            for name, label, image in zip(ids, labels, images, strict=True)
        ]
