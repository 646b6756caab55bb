"""A sketch of a set of images: the smallest of their content digests, which are few enough for any model file."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from featurebank.bank.index import first_bits

MOST = 4096
"""The number of digests that are kept: 44 kB as text."""
_COUNT = 1 << 53
"""The largest number of images that is believed: what JSON holds exactly."""
_END = np.uint64(2**64 - 1)
_WORD = np.dtype("<u8")


@dataclass(frozen=True, eq=False)
class Sketch:
    """The first 64 bits of the smallest digests of a set of images.

    Of at most 4096 different images it holds all. Of more, it says which images up to its largest digest are in the
    set: as digests are random numbers, these are a random sample of any images that it is asked about.

    References:
        Broder, "On the Resemblance and Containment of Documents", SEQUENCES 1997.
        Cohen, Kaplan, "Summarizing Data using Bottom-k Sketches", PODC 2007.

    Example:
        >>> sketch = Sketch.of(np.array([b"%032x" % number for number in (3 << 64, 9 << 64, 3 << 64)]))
        >>> sketch.images, sketch.words.tolist(), sketch.contains(np.array([3, 4], np.uint64)).tolist()
        (2, [3, 9], [True, False])
    """

    images: int
    """The number of different images."""
    words: np.ndarray
    """(k,) uint64, ascending."""

    @classmethod
    def of(cls, digests: np.ndarray) -> Self:
        """Makes the sketch of images with some content digests, (n,) "S32"; copies count once."""
        words = np.unique(first_bits(digests))
        return cls(len(words), words[:MOST].copy())

    @property
    def limit(self) -> np.uint64:
        """The largest first 64 bits of a digest about which the sketch knows whether it is in the set."""
        return _END if len(self.words) == self.images else np.uint64(self.words[-1])

    def contains(self, words: np.ndarray) -> np.ndarray:
        """Returns which digests are in the set, (n,) bool, by their first 64 bits, (n,) uint64 up to `limit`."""
        return np.isin(words, self.words)

    def to_json(self) -> dict[str, Any]:
        """Returns the sketch as JSON values."""
        return {"images": self.images, "digests": base64.b64encode(self.words.astype(_WORD).tobytes()).decode()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned; a stranger may have written it.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        images, text = value["images"], value["digests"]
        if not (type(images) is int and 0 <= images <= _COUNT and isinstance(text, str) and len(text) <= 12 * MOST):
            message = "a sketch of another size"
            raise ValueError(message)
        words = np.frombuffer(base64.b64decode(text, validate=True), _WORD).astype(np.uint64)
        if len(words) != min(images, MOST) or not (words[1:] > words[:-1]).all():
            message = "a sketch with other digests"
            raise ValueError(message)
        return cls(images, words)
