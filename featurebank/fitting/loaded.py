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

from featurebank.bank import Bank
from featurebank.errors import BankError
from featurebank.fitting.data import DataReference, TrainingData
from featurebank.fitting.folds import Fold, FoldedImages
from featurebank.fitting.joined.text import is_joined
from featurebank.fitting.joined.training import training_data
from featurebank.storage.caches import local_path
from featurebank.system.parallel import SharedValue


class DataLoader:
    """Loads the training data of a bank, and keeps those of the last call; threads may share it.

    Args:
        bank: the bank.
    """

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self._folded: tuple[str, int | None, FoldedImages] | None = None
        self._data: tuple[str, int | None, Fold | None, int | None, TrainingData] | None = None
        self._lock = threading.Lock()

    def get(self, tap: str, views: int | None, fold: Fold | None, sample: int | None = None) -> TrainingData:
        """Returns the features of a tap and fold.

        Args:
            tap: a tap of the bank, or a joined tap.
            views: the number of augmented views of the training images; None for all views of the bank.
            fold: the fold; None for the bank's own split.
            sample: the number of training images; None for all.

        Raises:
            ConfigError, DatasetError, UnknownNameError, RamLimitError: see `training_data`.
        """
        with self._lock:
            if self._data is None or self._data[:4] != (tap, views, fold, sample):
                self._data = None  # freed before the next one is read, because both may not fit into memory
                self._data = tap, views, fold, sample, self._load(tap, views, fold, sample)
            return self._data[4]

    def _load(self, tap: str, views: int | None, fold: Fold | None, sample: int | None) -> TrainingData:
        if fold is None or is_joined(tap, self.bank.taps):
            self._folded = None
            return training_data(self.bank, tap, views, fold, sample)
        if self._folded is None or self._folded[:2] != (tap, views):
            self._folded = None
            self._folded = tap, views, FoldedImages(self.bank, tap, views)
        return self._folded[2].data(fold, sample)


_loaders: SharedValue[DataLoader] = SharedValue()


@contextlib.contextmanager
def reference_data(reference: DataReference) -> Iterator[TrainingData]:
    """Provides the features of a reference for the block; this process reads them once for all blocks.

    Raises:
        BankError: this process does not see the bank, or the bank has changed.
        DatasetError, UnknownNameError, RamLimitError: see `TrainingData.of`.
    """
    key = reference.place, reference.bank
    with _loaders.using(key, lambda: DataLoader(open_shared_bank(*key))) as loader:
        fold = reference.fold and Fold(*reference.fold)
        data = loader.get(reference.tap, reference.views, fold, reference.sample)
        yield data if reference.weighted else data.unweighted


def open_shared_bank(place: str, digest: str) -> Bank:
    """Opens a bank that another process, perhaps of another machine, works on.

    Args:
        place: the address of the bank; see `storage.caches.portable_path`.
        digest: the digest that the bank has there.

    Raises:
        BankError: this process does not see the bank, or the bank has changed; the message names this machine.
    """
    here = socket.gethostname()
    try:
        bank = Bank(local_path(place))
    except BankError as error:
        message = f"a process on {here} cannot open the bank: {error}; expected a disk that all machines share"
        raise type(error)(message) from error
    if bank.digest != digest:
        message = (
            f"bank '{place}' on {here} has other images, labels or splits than when this work began: run the same "
            "command again, and check that all machines share the disk"
        )
        raise BankError(message)
    return bank
