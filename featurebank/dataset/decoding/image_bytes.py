"""Images that come as the bytes of a file, wherever these lie: read, compared with their digest, and decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from featurebank.dataset.decoding.decode import Facts, decode_expected
from featurebank.dataset.decoding.levels import Depths, Levels
from featurebank.dataset.fingerprint import reason
from featurebank.errors import LostImageError


class ImageBytes(ABC):
    """The decoding half of `Pixels`, for sources whose images are bytes."""

    depths: Depths
    """The largest values of deep images, noted while they are decoded."""

    @abstractmethod
    def _bytes(self, index: int) -> bytes:
        """Returns the bytes of an image; raises OSError where they cannot be read."""

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError, also if the bytes have not the digest expected."""
        return self._decoded(index, expected, levels)[0]

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns what an image is; raises BadImageError as `image` does."""
        return self._decoded(index, expected, levels)[1]

    def _decoded(self, index: int, expected: bytes | None, levels: Levels | None) -> tuple[np.ndarray, Facts]:
        try:
            data = self._bytes(index)
        except OSError as error:
            raise LostImageError(reason(error)) from error
        found = decode_expected(data, expected, levels)
        self.depths.note(index, found[1].peak)
        return found
