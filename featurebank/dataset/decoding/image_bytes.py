"""Images that come as the bytes of a file, from any storage: reads, verifies and decodes them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from featurebank.dataset.decoding.decode import Facts, decode_expected, decode_with_facts
from featurebank.dataset.decoding.levels import Depths, Levels
from featurebank.dataset.fingerprint import reason
from featurebank.errors import LostImageError
from featurebank.system import digest


def as_expected(image: np.ndarray, expected: bytes | None) -> np.ndarray:
    """Returns an image of an array as it is; raises LostImageError if its digest is not the expected one."""
    if expected is not None and digest.of_array(image).encode() != expected:
        message = "changed since its digest was computed"
        raise LostImageError(message)
    return image


def with_digest(image: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Returns an image of an array with its content digest."""
    return image, digest.of_array(image).encode()


class ImageBytes(ABC):
    """The decoding half of `Pixels`, for sources that return bytes."""

    depths: Depths
    """The largest values of deep images, recorded while they are decoded."""

    @abstractmethod
    def _bytes(self, index: int, expected: bytes | None = None) -> bytes:
        """Returns the bytes of an image; raises OSError if they cannot be read.

        A source that keeps images by their digest may return those that are expected without asking where they are
        from.
        """

    def image(self, index: int, expected: bytes | None, levels: Levels | None = None) -> np.ndarray:
        """Returns (height, width, 3) uint8; raises BadImageError, also if the digest is not the expected one."""
        return self._decoded(index, expected, levels)[0]

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Returns an image with the digest of its bytes, which are read once; raises BadImageError like `image`."""
        data = self._read(index, None)
        return self._noted(index, decode_with_facts(data, levels))[0], digest.of_bytes(data).encode()

    def facts(self, index: int, expected: bytes | None, levels: Levels | None = None) -> Facts:
        """Returns the properties of an image; raises BadImageError like `image`."""
        return self._decoded(index, expected, levels)[1]

    def _decoded(self, index: int, expected: bytes | None, levels: Levels | None) -> tuple[np.ndarray, Facts]:
        return self._noted(index, decode_expected(self._read(index, expected), expected, levels))

    def _read(self, index: int, expected: bytes | None) -> bytes:
        try:
            return self._bytes(index, expected)
        except OSError as error:
            raise LostImageError(reason(error)) from error

    def _noted(self, index: int, result: tuple[np.ndarray, Facts]) -> tuple[np.ndarray, Facts]:
        self.depths.note(index, result[1].peak)
        return result
