"""Looks up rows by the digests of their images, a million at a time."""

from __future__ import annotations

import numpy as np

_HEX_WORD = ">u8"
_ONES = np.uint64(0x0101010101010101)
_LOW = np.uint64(0x0F0F0F0F0F0F0F0F)
_FOLDS = (
    (np.uint64(4), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(8), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(16), np.uint64(0x00000000FFFFFFFF)),
)


class Finder:
    """Looks up digests in an array of digests.

    Comparing strings is slow. So each digest is represented by its first 64 bits, which are sorted and searched as
    numbers. Then the whole digests are compared. Those that share these bits with another digest are looked up as
    strings, all together: a stranger's bank may hold a million of them.

    Args:
        stored: (m,) "S32" digests; among equal ones, the first is returned.

    Example:
        >>> Finder(np.array([b"0" * 32, b"1" * 32], "S32")).find(np.array([b"1" * 32, b"2" * 32], "S32"))
        array([ 1, -1])
    """

    def __init__(self, stored: np.ndarray) -> None:
        self._stored = np.asarray(stored, "S32")
        words = first_bits(self._stored)
        self._order = np.argsort(words, kind="stable")
        self._words = words[self._order]

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Returns the positions of digests: (n,) int64, -1 for a missing one."""
        digests = np.asarray(digests, "S32")
        if not len(self._stored):
            return np.full(len(digests), -1, np.int64)
        words = first_bits(digests)
        places = np.minimum(np.searchsorted(self._words, words), len(self._words) - 1)
        positions = self._order[places].astype(np.int64)
        alike = self._words[places] == words
        positions[~alike] = -1
        doubtful = np.flatnonzero(alike & (self._stored[positions] != digests))
        if len(doubtful):
            positions[doubtful] = self._among_equal_words(digests[doubtful], words[doubtful])
        return positions

    def _among_equal_words(self, digests: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Returns the positions of digests among the stored ones with the same first bits: (n,) int64."""
        same = np.sort(self._order[np.isin(self._words, words)])
        known, first = np.unique(self._stored[same], return_index=True)
        places = np.minimum(np.searchsorted(known, digests), len(known) - 1)
        return np.where(known[places] == digests, same[first[places]], -1)


def contained(digests: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Tells, for each of `digests`, whether it is in `stored`: (n,) bool; both are arrays of "S32"."""
    return Finder(stored).find(digests) >= 0


def first_bits(digests: np.ndarray) -> np.ndarray:
    """Returns the first 16 hexadecimal digits of each digest as one number, (n,) uint64."""
    words = np.ascontiguousarray(digests).view(_HEX_WORD).reshape(len(digests), 4)[:, :2].astype(np.uint64)
    digits = (words & _LOW) + np.uint64(9) * ((words >> np.uint64(6)) & _ONES)  # "a" is 0x61, and stands for 1 + 9
    for shift, mask in _FOLDS:
        digits = (digits | (digits >> shift)) & mask
    numbers: np.ndarray = (digits[:, 0] << np.uint64(32)) | digits[:, 1]
    return numbers
