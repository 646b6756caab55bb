"""Many strings as one text and their ends, as pages hold the ids of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np

_LEADING_BITS, _CONTINUATION = 0xC0, 0x80
"""Mask and value of the bytes within a character of UTF-8, after its first."""
_CHUNK = 1 << 16
"""Strings that are decoded or gathered at a time."""
_STRETCH = 32
"""Neighbouring strings are copied together if they are as many on average."""


class PackedText(Sequence[str]):
    """Many strings as one UTF-8 text and their end offsets, decoded on demand: a million strings open instantly.

    Args:
        text: (bytes,) uint8, the concatenated strings.
        ends: (n,) int64, the end offset of each string.

    Example:
        >>> names = PackedText.pack(["ant", "bee"])
        >>> len(names), names[1]
        (2, 'bee')
    """

    def __init__(self, text: np.ndarray, ends: np.ndarray) -> None:
        self.text, self.ends = text, ends

    @classmethod
    def pack(cls, strings: Iterable[str]) -> PackedText:
        """Packs strings; returns a `PackedText` unchanged."""
        if isinstance(strings, PackedText):
            return strings
        encoded = [string.encode() for string in strings]
        ends = np.cumsum([len(part) for part in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.text[start : self.ends[index]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        for text, ends in self._chunks():
            start = 0
            for end in ends.tolist():
                yield text[start:end].decode()
                start = end

    def _chunks(self) -> Iterator[tuple[bytes, np.ndarray]]:
        """Yields the text of some strings at a time, and their ends in it."""
        start = 0
        for place in range(0, len(self.ends), _CHUNK):
            ends = self.ends[place : place + _CHUNK]
            yield self.text[start : ends[-1]].tobytes(), ends - start
            start = int(ends[-1])

    def select(self, order: np.ndarray) -> PackedText:
        """Returns the strings at some positions, in that order, without decoding them.

        Args:
            order: (m,) positions, none of them negative.
        """
        starts = np.where(order > 0, self.ends[order - 1], 0) if len(order) else np.empty(0, np.int64)
        lengths = self.ends[order] - starts
        ends = np.cumsum(lengths, dtype=np.int64)
        text = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
        for place in range(0, len(order), _CHUNK):
            here = slice(place, place + _CHUNK)
            first, last = int(ends[place] - lengths[place]), int(ends[here][-1])
            self._copy(order[here], starts[here], lengths[here], text[first:last])
        return PackedText(text, ends)

    def _copy(self, order: np.ndarray, starts: np.ndarray, lengths: np.ndarray, out: np.ndarray) -> None:
        """Copies the text of some strings, given by their positions, starts and lengths, one after another."""
        breaks = np.flatnonzero(np.diff(order) != 1) + 1
        if len(breaks) * _STRETCH < len(order):  # mostly strings that are neighbours here, too
            begins, stops = starts[np.append(0, breaks)], (starts + lengths)[np.append(breaks, len(order)) - 1]
            stretches = zip(begins.tolist(), stops.tolist(), strict=True)
            np.concatenate([self.text[begin:stop] for begin, stop in stretches], out=out)
            return
        ends = np.cumsum(lengths)
        out[:] = self.text[np.repeat(starts - (ends - lengths), lengths) + np.arange(len(out))]

    def index(self, value: str, start: int = 0, stop: int | None = None) -> int:
        """Returns the first position of a string, without decoding the others; raises ValueError if it is missing."""
        if start or stop is not None:
            return super().index(value, start, len(self) if stop is None else stop)
        for position in self.places(value):
            return position
        message = f"{value!r} is not in the list"
        raise ValueError(message)

    def places(self, value: str) -> Iterator[int]:
        """Yields all positions of a string, without decoding the others."""
        searched = value.encode(errors="surrogatepass")
        if not searched:
            yield from np.flatnonzero(np.diff(self.ends, prepend=0) == 0).tolist()
            return
        text, at = self.text.tobytes(), -1
        while (at := text.find(searched, at + 1)) >= 0:
            position = int(np.searchsorted(self.ends, at, side="right"))
            if self.ends[position] == at + len(searched) and at == (self.ends[position - 1] if position else 0):
                yield position

    def check(self) -> None:
        """Raises ValueError if the offsets do not divide the text into strings in UTF-8."""
        ends = self.ends
        ordered = not len(ends) or (ends[0] >= 0 and bool((ends[1:] >= ends[:-1]).all()))
        if not ordered or (int(ends[-1]) if len(ends) else 0) != len(self.text):
            message = "the offsets of the ids do not divide their text"
            raise ValueError(message)
        for text, _ in self._chunks():
            text.decode()
        starts = ends[ends < len(self.text)]
        if (self.text[starts] & _LEADING_BITS == _CONTINUATION).any():
            message = "an id ends within a character"
            raise ValueError(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]
