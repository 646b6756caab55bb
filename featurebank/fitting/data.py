"""The training and validation features of heads, loaded from a bank."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from featurebank.bank import Bank
from featurebank.errors import DatasetError, RamLimitError
from featurebank.heads.exact.shared import Shared
from featurebank.heads.maps.stored import StoredMaps, stored_maps
from featurebank.system.runtime import ram_limit, tidy_bytes
from featurebank.words import counted

Features = np.ndarray | StoredMaps
"""(n, ...) float32, or maps that stay in the bank because they do not fit into memory."""


@dataclass(frozen=True)
class DataReference:
    """Names features in a bank, so that another process can read them itself: see `fitting.loaded`."""

    path: Path
    """The absolute path of the bank."""
    bank: str
    """The digest of the bank, which changes with its images, labels and splits."""
    tap: str
    views: int | None
    """The number of augmented views of the training images; None for all views of the bank."""
    fold: tuple[int, int, int] | None = None
    """The fold whose images validate; None for the bank's own validation images."""


@dataclass(frozen=True)
class TrainingData:
    """The training and validation images of one tap."""

    tap: str
    X: Features
    y: np.ndarray
    X_val: Features
    y_val: np.ndarray
    classes: int
    views: Sequence[np.ndarray] = ()
    """Further views of the training images; stored maps contain their own."""
    reference: DataReference | None = None
    """Where another process finds the same data; None for arrays that are in no bank."""

    @classmethod
    def of(cls, bank: Bank, tap: str, views: int | None = None) -> TrainingData:
        """Loads the features; maps that need more than half of `--ram` stay in the bank.

        Args:
            bank: the bank.
            tap: a tap of the bank.
            views: the number of augmented views of the training images to load; default: all views of the bank.

        Raises:
            DatasetError: a split is empty, or the training images have only one class.
            UnknownNameError: the bank has no such tap.
            RamLimitError: vectors do not fit into memory.
        """
        check_splits(bank)
        X, augmented = read_features(bank, tap, "train", views=bank.views if views is None else views)
        X_val, _ = read_features(bank, tap, "val")
        reference = DataReference(bank.path.absolute(), bank.digest, tap, views)
        return cls(tap, X, bank.labels("train"), X_val, bank.labels("val"), len(bank.classes), augmented, reference)

    @cached_property
    def in_memory(self) -> TrainingData:
        """The same data loaded into memory, for heads that need that.

        Raises:
            RamLimitError: the features do not fit into memory.
        """
        X, X_val, views = self.X, self.X_val, self.views
        if isinstance(X, np.ndarray) and isinstance(X_val, np.ndarray):
            return self
        if isinstance(X, StoredMaps):
            X, *views = X.read()
        return replace(self, X=X, X_val=X_val.read()[0] if isinstance(X_val, StoredMaps) else X_val, views=views)

    @cached_property
    def shared(self) -> Shared:
        """The quantities that heads on these images compute once and share."""
        return Shared(np.asarray(self.X), self.y)

    @cached_property
    def present(self) -> int:
        """The number of classes with training images."""
        return len(np.unique(self.y))

    @property
    def nbytes(self) -> int:
        """Bytes of the features that are in memory."""
        return sum(part.nbytes for part in (self.X, self.X_val, *self.views) if isinstance(part, np.ndarray))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image's features."""
        return tuple(self.X.shape[1:])

    def unseen(self, names: Sequence[str]) -> list[str]:
        """Returns the names of the classes with validation images but without training images."""
        return [names[label] for label in np.setdiff1d(self.y_val, self.y)]


def read_features(bank: Bank, tap: str, split: str, *, views: int = 0) -> tuple[Features, list[np.ndarray]]:
    """Loads features and their views; maps that need more than half of `--ram` stay in the bank.

    Args:
        bank: the bank.
        tap: a tap of the bank.
        split: "train", "val" or "test".
        views: the number of augmented views to load.

    Raises:
        UnknownNameError: the bank has no such tap.
        RamLimitError: vectors do not fit into memory.
    """
    stored = stored_maps(bank, tap, np.flatnonzero(bank.splits() == split), views=views)
    if stored is not None:
        return stored, []
    if views and (size := 4 * math.prod(bank.tap_shape(tap)) * (1 + views) * len(bank.labels(split))) > ram_limit():
        message = (
            f"the features of tap '{tap}' take {tidy_bytes(size)} in {counted(1 + views, 'view')}, and --ram allows "
            f"{tidy_bytes(ram_limit())}: increase --ram, or extract fewer views"
        )
        raise RamLimitError(message)
    X, *more = (bank.features(tap, split, view=view) for view in range(1 + views))
    return X, more


def check_splits(bank: Bank) -> None:
    """Checks that heads can be trained and validated on a bank's own split.

    Raises:
        DatasetError: a split is empty, the training images have only one class, or no validation image belongs to a
            class with training images.
    """
    y, y_val = bank.labels("train"), bank.labels("val")
    for name, labels in (("training images", y), ("validation images", y_val)):
        if not len(labels):
            message = (
                f"'{bank.name}' has no {name} among its {counted(len(bank), 'image')}: extract again with another "
                "--split, such as --split .7,.15,.15, or with more images"
            )
            raise DatasetError(message)
    if len(np.unique(y)) < 2:  # noqa: PLR2004 - a classifier needs two
        message = (
            f"every one of {counted(len(y), 'training image')} is of class '{bank.classes[int(y[0])]}', but a head "
            "needs at least two classes: check the labels, or extract again with another --split"
        )
        raise DatasetError(message)
    if not np.isin(y_val, y).any():
        message = (
            f"none of the {counted(len(y_val), 'validation image')} of '{bank.name}' is of a class that has training "
            "images, so every head would misclassify all of them: check the labels (are they classes?), or add images"
        )
        raise DatasetError(message)
