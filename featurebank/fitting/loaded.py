"""Training data that are loaded once: for the pieces of a grid, and for the tasks that another process is given.

A task of another process names its features by a `DataReference`: they would fill the connections, and the memory of a
scheduler. A process reads them once and keeps them for its next tasks, together with what heads on them share, such as
Gram matrices. They are a copy and no memory map: the images of a split are scattered over the rows of the shards.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from featurebank.bank import Bank
from featurebank.errors import BankError
from featurebank.fitting.data import DataReference, TrainingData
from featurebank.fitting.folds import Fold, FoldedImages

KEPT_S = 60.0
"""A process frees features that no task has used for this long: a worker may live for days."""


class DataLoader:
    """Loads the training data of a bank, and keeps those of the last call.

    Args:
        bank: the bank.
    """

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._folded: tuple[str, int | None, FoldedImages] | None = None
        self._data: tuple[str, int | None, Fold | None, int | None, TrainingData] | None = None

    def get(self, tap: str, views: int | None, fold: Fold | None, sample: int | None = None) -> TrainingData:
        """Returns the features of a tap and fold.

        Args:
            tap: a tap of the bank.
            views: the number of augmented views of the training images; None for all views of the bank.
            fold: the fold; None for the bank's own split.
            sample: the number of training images; None for all.

        Raises:
            DatasetError, UnknownNameError, RamLimitError: see `TrainingData.of` and `FoldedImages`.
        """
        if self._data is None or self._data[:4] != (tap, views, fold, sample):
            self._data = None
            if fold is None:
                self._folded = None
                data = TrainingData.of(self.bank, tap, views, sample)
            else:
                if self._folded is None or self._folded[:2] != (tap, views):
                    self._folded = None  # freed before the next tap is read, because both may not fit into memory
                    self._folded = tap, views, FoldedImages(self.bank, tap, views)
                data = self._folded[2].data(fold, sample)
            self._data = tap, views, fold, sample, data
        return self._data[4]


class _ProcessData:
    """The features that this process has read for tasks; threads may use them at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loader: DataLoader | None = None
        self._users = 0
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def using(self, reference: DataReference) -> Iterator[TrainingData]:
        with self._lock:
            if self._timer:
                self._timer.cancel()
            data = self._read(reference)
            self._users += 1
        try:
            yield data
        finally:
            with self._lock:
                self._users -= 1
                self._timer = threading.Timer(KEPT_S, self._free)
                self._timer.daemon = True
                self._timer.start()

    def _read(self, reference: DataReference) -> TrainingData:
        loader = self._loader
        if loader is None or (loader.bank.path, loader.bank.digest) != (reference.path, reference.bank):
            self._loader = None  # freed first, because both may not fit into memory
            loader = self._loader = DataLoader(open_shared_bank(reference.path, reference.bank))
        return loader.get(reference.tap, reference.views, reference.fold and Fold(*reference.fold), reference.sample)

    def _free(self) -> None:
        with self._lock:
            if not self._users:
                self._loader = None


_process_data = _ProcessData()


@contextlib.contextmanager
def reference_data(reference: DataReference) -> Iterator[TrainingData]:
    """Provides the features of a reference for the block; this process reads them once for all blocks.

    Raises:
        BankError: this process does not see the bank, or the bank has changed.
        DatasetError, UnknownNameError, RamLimitError: see `TrainingData.of`.
    """
    with _process_data.using(reference) as data:
        yield data


def open_shared_bank(path: Path, digest: str) -> Bank:
    """Opens a bank that another process, perhaps of another machine, works on.

    Args:
        path: the absolute path of the bank.
        digest: the digest that the bank has there.

    Raises:
        BankError: this process does not see the bank, or the bank has changed; the message names this machine.
    """
    here = socket.gethostname()
    try:
        bank = Bank(path)
    except BankError as error:
        message = f"a process on {here} cannot open the bank: {error}; expected a disk that all machines share"
        raise type(error)(message) from error
    if bank.digest != digest:
        message = (
            f"bank '{path}' on {here} has other images, labels or splits than when this work began: run the same "
            "command again, and check that all machines share the disk"
        )
        raise BankError(message)
    return bank
