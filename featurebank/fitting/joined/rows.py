"""The features of a joined tap, read from their banks; to the readers of features it looks like a bank with one tap."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import by_shard
from featurebank.errors import HeadError, RamLimitError
from featurebank.fitting.joined.parts import JoinedTap, resolve
from featurebank.fitting.joined.text import is_joined
from featurebank.heads.joined.encoding import ColumnEncoding
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.system.runtime import ram_limit, tidy_bytes
from featurebank.words import counted


class JoinedRows:
    """The features of a joined tap.

    Args:
        joined: the joined tap.
        encoding: the encoding of its columns; None if it has none.
        scaling: scales the features; None for features as they are stored.
    """

    def __init__(
        self, joined: JoinedTap, encoding: ColumnEncoding | None, scaling: JoinedScaling | None = None
    ) -> None:
        self.joined, self._encoding, self._scaling = joined, encoding, scaling

    @property
    def path(self) -> Path:
        """The directory of the bank that is trained on."""
        return self.joined.bank.path

    @property
    def banks(self) -> list[Bank]:
        """The banks of the parts."""
        return [part.bank for part in self.joined.parts]

    @property
    def taps(self) -> tuple[tuple[str, int], ...]:
        """The taps in the order of the features, each with its number of features."""
        return tuple((part.text, part.width) for part in self.joined.parts)

    @property
    def encoding(self) -> ColumnEncoding | None:
        """The encoding of the columns."""
        return self._encoding

    @property
    def width(self) -> int:
        """The number of features."""
        return sum(width for _, width in self.taps) + (self._encoding.width if self._encoding else 0)

    def tap_shape(self, tap: str) -> tuple[int, ...]:
        """Returns the shape of one image's features; see `Bank.tap_shape`."""
        return (self.width,)

    def tap_dtype(self, tap: str) -> str:
        """Returns the coarsest dtype of the parts on disk; see `Bank.tap_dtype`."""
        return min([part.bank.tap_dtype(part.tap) for part in self.joined.parts], default="float32")

    def tap_bytes(self, tap: str) -> int:
        """Returns the size of the parts on disk; see `Bank.tap_bytes`."""
        return sum(part.bank.tap_bytes(part.tap) for part in self.joined.parts)

    def scaled(self, scaling: JoinedScaling) -> JoinedRows:
        """Returns the same features, scaled."""
        return JoinedRows(self.joined, self._encoding, scaling)

    def rows(self, tap: str, positions: np.ndarray, *, view: int = 0) -> np.ndarray:
        """Returns the features of images, (n, d) float32; see `Bank.rows`."""
        positions = np.asarray(positions, np.int64)
        if (size := 4 * len(positions) * self.width) > ram_limit():
            message = (
                f"the features of tap '{self.joined.text}' need {tidy_bytes(size)} for "
                f"{counted(len(positions), 'image')}, and --ram allows {tidy_bytes(ram_limit())}: increase --ram, or "
                "join fewer taps"
            )
            raise RamLimitError(message)
        out, start = np.empty((len(positions), self.width), np.float32), 0
        for part in self.joined.parts:
            out[:, start : start + part.width] = part.bank.rows(part.tap, part.at(positions), view=view)
            start += part.width
        if self._encoding:
            values = {name: column[positions] for name, column in self.joined.values.items()}
            out[:, start:] = self._encoding.encode(values)
        return out if self._scaling is None else self._scaling.apply_in_place(out)

    def shards(self, positions: np.ndarray) -> list[np.ndarray]:
        """Returns the images whose clean rows lie in the same shard of the first part; see `by_shard`."""
        for part in self.joined.parts:
            return by_shard(part.bank, part.tap, part.at(positions))
        return [np.arange(len(positions), dtype=np.int32)]


class JoinedVectors(StoredVectors):
    """Joined features that stay in their banks until they are used; see `StoredVectors`."""

    def __init__(self, rows: JoinedRows, tap: str, positions: np.ndarray, views: int = 1) -> None:
        super().__init__(cast("Any", rows), tap, positions, views)
        self._rows = rows

    def scaled(self, scaling: JoinedScaling) -> JoinedVectors:
        """Returns the same features, scaled."""
        return JoinedVectors(self._rows.scaled(scaling), self._tap, self._positions, self.views)

    @cached_property
    def _shards(self) -> list[np.ndarray]:
        return self._rows.shards(self._positions)


FeatureRows = Bank | JoinedRows
"""What has `rows(tap, positions)`, `tap_shape(tap)`, `tap_dtype(tap)` and `tap_bytes(tap)`."""


def stored_vectors(source: FeatureRows, tap: str, positions: np.ndarray, views: int) -> StoredVectors:
    """Returns features that stay in the bank or the banks."""
    if isinstance(source, JoinedRows):
        return JoinedVectors(source, tap, positions, views)
    return StoredVectors(source, tap, positions, views)


def feature_rows(
    bank: Bank, tap: str, head: Any = None, recorded: Mapping[str, Any] | None = None
) -> FeatureRows:  # fmt: skip
    """Returns what has the features of a tap: the bank itself, or of a joined tap its `JoinedRows`, unscaled.

    Args:
        bank: the bank.
        tap: a tap of the bank, or a joined tap.
        head: a fitted head, whose encoding of columns is used; default: that of all training images.
        recorded: see `resolve`.

    Raises:
        ConfigError: a part of a joined tap cannot be used.
    """
    if not is_joined(tap, bank.taps):
        return bank
    joined = resolve(bank, tap, recorded)
    return JoinedRows(joined, joined.training_encoding if head is None else scaling_of(head).encoding)


def scaling_of(head: Any) -> JoinedScaling:
    """Returns the scale of a fitted head on a joined tap.

    Raises:
        HeadError: the head has none.
    """
    from featurebank.heads.joined.head import JoinedHead  # imports scikit-learn

    if not isinstance(head, JoinedHead):
        message = f"{type(head).__name__} has no scale of joined features: train it on the joined tap"
        raise HeadError(message)
    return head.scaling_


def canonical_tap(bank: Bank, tap: str) -> str:
    """Returns the one text of a joined tap, and any other tap as it is; raises ConfigError as `resolve` does."""
    return resolve(bank, tap).text if is_joined(tap, bank.taps) else tap


def joined_identity(bank: Bank, tap: str) -> dict[str, Any] | None:
    """Returns what a run on a joined tap depends on beside its bank; None for any other tap."""
    return resolve(bank, tap).identity() if is_joined(tap, bank.taps) else None
