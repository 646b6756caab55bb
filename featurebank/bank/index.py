"""Looks up rows by the digests of their images, a million at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

_HEX_WORD = ">u8"
_ONES = np.uint64(0x0101010101010101)
_LOW = np.uint64(0x0F0F0F0F0F0F0F0F)
_FOLDS = (
    (np.uint64(4), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(8), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(16), np.uint64(0x00000000FFFFFFFF)),
)

_AT_ONCE = 1 << 14
"""Digests that become numbers at a time, so that the numbers between fit into the cache of the processor."""


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


def first_shards(
    words: np.ndarray, digests_at: Callable[[np.ndarray], np.ndarray], shards: Iterable[tuple[int, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the row of each digest in many shards, one shard at a time, so that it needs little memory.

    Args:
        words: (n,) uint64, the first bits of the digests.
        digests_at: returns the digests at some positions, (m,) "S32".
        shards: a number and the digests of the rows, (rows,) "S32", of each shard; the first with a digest counts.

    Returns:
        The number of the shard of each digest, (n,) int32, -1 if it is in none; and its row there, (n,) int32.
    """
    if not (words[1:] >= words[:-1]).all():
        order = np.argsort(words, kind="stable")
        ordered = first_shards(words[order], lambda places: digests_at(order[places]), shards)
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return ordered[0][back], ordered[1][back]
    shard_of, row_of = np.full(len(words), -1, np.int32), np.zeros(len(words), np.int32)
    doubtful: list[tuple[int, np.ndarray, np.ndarray]] = []
    for number, digests in shards:
        bits = first_bits(digests)
        first, last = np.searchsorted(words, bits), np.searchsorted(words, bits, side="right")
        rows = np.flatnonzero(last - first == 1)
        rows = rows[digests_at(first[rows]) == digests[rows]][::-1]  # of equal rows, the first is written last
        rows = rows[shard_of[first[rows]] < 0]
        shard_of[first[rows]], row_of[first[rows]] = number, rows
        if len(several := np.flatnonzero(last - first > 1)):
            doubtful.append((number, several, digests[several]))
    if doubtful:  # several digests have the same first bits: images that occur twice, or a stranger's
        alike = np.zeros(len(words), bool)
        alike[1:] |= words[1:] == words[:-1]
        alike[:-1] |= words[1:] == words[:-1]
        places = np.flatnonzero(alike)
        found = Finder(np.concatenate([digests for *_, digests in doubtful])).find(digests_at(places))
        places, found = places[found >= 0], found[found >= 0]
        numbers = np.repeat([number for number, *_ in doubtful], [len(rows) for _, rows, _ in doubtful])
        shard_of[places], row_of[places] = numbers[found], np.concatenate([rows for _, rows, _ in doubtful])[found]
    return shard_of, row_of


def contained(digests: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Tells, for each of `digests`, whether it is in `stored`: (n,) bool; both are arrays of "S32"."""
    return Finder(stored).find(digests) >= 0


def first_bits(digests: np.ndarray) -> np.ndarray:
    """Returns the first 16 hexadecimal digits of each digest as one number, (n,) uint64."""
    numbers = np.empty(len(digests), np.uint64)
    for place in range(0, len(digests), _AT_ONCE):
        numbers[place : place + _AT_ONCE] = _first_bits(np.asarray(digests[place : place + _AT_ONCE], "S32"))
    return numbers


def _first_bits(digests: np.ndarray) -> np.ndarray:
    words = np.ascontiguousarray(digests).view(_HEX_WORD).reshape(len(digests), 4)[:, :2].astype(np.uint64)
    digits = (words & _LOW) + np.uint64(9) * ((words >> np.uint64(6)) & _ONES)  # "a" is 0x61, and stands for 1 + 9
    for shift, mask in _FOLDS:
        digits = (digits | (digits >> shift)) & mask
    numbers: np.ndarray = (digits[:, 0] << np.uint64(32)) | digits[:, 1]
    return numbers
