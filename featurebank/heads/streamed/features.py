"""What stored vectors and stored maps have in common: some images of a bank at one tap, read when they are needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np

from featurebank.bank import Bank
from featurebank.heads.inputs import check_finite


class StoredFeatures:
    """Features that stay in the bank until they are used.

    Slicing returns another selection of the same bank; `np.asarray` reads all features, if `--ram` allows it.

    Args:
        bank: has them.
        tap: a tap of the bank.
        positions: (n,) which images, as positions in `Bank.ids()`.
        views: the number of views to train on, including the clean one.
    """

    def __init__(self, bank: Bank, tap: str, positions: np.ndarray, views: int = 1) -> None:
        self._bank, self._tap, self._positions, self.views = bank, tap, np.asarray(positions, np.int64), views

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""
        return (len(self._positions), *self._bank.tap_shape(self._tap))

    @property
    def bank_path(self) -> Path:
        """The directory of the bank."""
        return self._bank.path

    @property
    def ndim(self) -> int:
        """The length of `shape`."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def row_bytes(self) -> int:
        """The bytes of one row in memory, as float32."""
        return 4 * math.prod(self.shape[1:])

    @property
    def needed_bytes(self) -> int:
        """The bytes that all views would need in memory."""
        return self.row_bytes * len(self) * self.views

    def __getitem__(self, selection: Any) -> Self:
        return type(self)(self._bank, self._tap, self._positions[selection], self.views)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self._bank.rows(self._tap, self._positions), dtype)

    def read(self) -> list[np.ndarray]:
        """Returns the features of each view, (n, ...) float32, the clean one first.

        Raises:
            RamLimitError: those of a view do not fit into memory.
        """
        return [self._bank.rows(self._tap, self._positions, view=view) for view in range(self.views)]

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Returns features (b, ...) float32; rows are image + view * n.

        Raises:
            HeadInputError: they are not finite.
            BankDamagedError: a shard is missing or not what was written.
        """
        rows = np.asarray(rows)
        images, views = self._positions[rows % len(self)], rows // len(self)
        which = np.unique(views).tolist()
        if len(which) == 1:  # as it is without augmented views: nothing is to be put together, which would be a copy
            out = self._bank.rows(self._tap, images, view=which[0])
        else:
            out = np.empty((len(rows), *self.shape[1:]), np.float32)
            for view in which:
                out[views == view] = self._bank.rows(self._tap, images[views == view], view=view)
        check_finite(out)
        return out


def in_memory(X: Any) -> np.ndarray:
    """Returns the clean view of features as an array; raises RamLimitError if stored ones do not fit into memory."""
    return X.read()[0] if isinstance(X, StoredFeatures) else np.asarray(X)
