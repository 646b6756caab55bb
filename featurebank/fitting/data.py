"""The training and validation features of heads, loaded from a bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.errors import RamLimitError
from featurebank.fitting.checks import check_sample, check_splits
from featurebank.fitting.joined.rows import FeatureRows, JoinedRows, stored_vectors
from featurebank.fitting.weights import labels_at, training_images
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.streamed import StreamedShared
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.heads.maps.stored import StoredMaps, stored_maps
from featurebank.heads.streamed.features import StoredFeatures, in_memory
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.storage.caches import portable_path
from featurebank.system.runtime import ram_limit, tidy_bytes
from featurebank.words import counted

_ALONE, _TRAINING, _VALIDATION = 0.5, 0.25, 0.125
"""The shares of `--ram` above which vectors stay in the bank: of one split alone, and of one beside others."""

Features = np.ndarray | StoredFeatures
"""(n, ...) float32, or features that stay in the bank because they do not fit into memory."""


@dataclass(frozen=True)
class DataReference:
    """Names features in a bank, so that another process can read them itself: see `fitting.loaded`."""

    place: str
    """The address of the bank for other machines; see `storage.caches.portable_path`."""
    bank: str
    """The digest of the bank, which changes with its images, labels and splits."""
    tap: str
    views: int | None
    """The number of augmented views of the training images; None for all views of the bank."""
    fold: tuple[int, int, int] | None = None
    """The fold whose images validate; None for the bank's own validation images."""
    sample: int | None = None
    """The number of training images; None for all."""
    weighted: bool = True
    """Whether the training images have the weights of the bank; otherwise all count alike."""


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
    """Further views of the training images; stored features contain their own."""
    reference: DataReference | None = None
    """Where another process finds the same data; None for arrays that are in no bank."""
    weights: np.ndarray | None = None
    """(n,) float64 above 0, how much each training image counts; None for 1 each. Metrics count all images alike."""
    groups_val: np.ndarray | None = None
    """(n,) int64, which validation images belong together; None if the dataset has no groups."""
    scaling: JoinedScaling | None = None
    """What scaled the features of a joined tap; a fitted head contains it."""
    class_names: Sequence[str] | None = None
    """The names of the classes, by label; None if the labels are all that is known."""

    @classmethod
    def of(cls, bank: Bank, tap: str, views: int | None = None, sample: int | None = None) -> TrainingData:
        """Loads the features; those that need more than half of `--ram` stay in the bank.

        Args:
            bank: the bank.
            tap: a tap of the bank.
            views: the number of augmented views of the training images to load; default: all views of the bank.
            sample: the number of training images: the first in the order of the digests of their contents, so that a
                larger sample contains each smaller one; default: all.

        Raises:
            DatasetError: a split is empty, or the training images have only one class.
            UnknownNameError: the bank has no such tap.
            RamLimitError: the augmented views of maps do not fit into memory.
        """
        check_splits(bank)
        train, weights = training_images(bank, positions_in(bank, "train"), sample)
        val, y = positions_in(bank, "val"), labels_at(bank, train)
        if sample is not None:
            check_sample(bank, y)
        reference = DataReference(portable_path(bank.path), bank.digest, tap, views, sample=sample)
        views = bank.views if views is None else views
        X, augmented = load_features(bank, tap, train, views=views, beside=len(val))
        X_val = load_validation(bank, tap, val, beside=len(train) * (1 + views))
        return cls(
            tap, X, y, X_val, bank.labels("val"), len(bank.classes), augmented, reference, weights, bank.groups("val"),
            class_names=bank.classes,
        )  # fmt: skip

    @cached_property
    def unweighted(self) -> TrainingData:
        """The same images, which all count alike."""
        reference = self.reference and replace(self.reference, weighted=False)
        return self if self.weights is None else replace(self, weights=None, reference=reference)

    @cached_property
    def in_memory(self) -> TrainingData:
        """The same data with training features in memory, for heads that need that.

        Validation features are loaded, too, unless they are vectors that need too much: those are read in blocks.

        Raises:
            RamLimitError: the features do not fit into memory.
        """
        X, X_val, views = self.X, self.X_val, self.views
        if isinstance(X, np.ndarray) and isinstance(X_val, np.ndarray):
            return self
        if isinstance(X, StoredFeatures):
            check_fit(X, self.tap, beside=X_val.nbytes if isinstance(X_val, np.ndarray) else 0)
            X, *views = X.read()
        if isinstance(X_val, StoredMaps):
            X_val = in_memory(X_val)
        return replace(self, X=X, X_val=X_val, views=views)

    def is_read_by(self, head: Any, *, maps: bool = False) -> bool:
        """Returns whether a head is trained on these features as they are, in memory or in the bank.

        Args:
            head: the head; None will do for features in memory, and for maps.
            maps: whether its family can read stored maps.
        """
        if isinstance(self.X, StoredVectors):
            return bool(head.reads_blocks(*self.X.shape))
        return maps or not (isinstance(self.X, StoredMaps) or isinstance(self.X_val, StoredMaps))

    @property
    def shortage(self) -> str | None:
        """One line for the user about vectors that stay in the bank; None if the training images are in memory."""
        if not isinstance(self.X, StoredVectors):
            return None
        needed, limit = self.X.needed_bytes + len(self.X_val) * self.X.row_bytes, ram_limit()
        allows, others = f"--ram allows {tidy_bytes(limit)}", "fail unless those of the training images fit"
        if needed <= limit:
            allows, others = f"more than half of the {tidy_bytes(limit)} that --ram allows", "load all of them"
        return (
            f"features of '{self.tap}' need {tidy_bytes(needed)}, {allows}: heads that can read them in blocks do so; "
            f"the others {others}"
        )

    @cached_property
    def shared(self) -> Shared:
        """The quantities that heads on these images compute once and share."""
        if isinstance(self.X, StoredVectors):
            return StreamedShared(self.X, self.y, self.weights, self.passes)
        return Shared(np.asarray(self.X), self.y, self.weights)

    @cached_property
    def passes(self) -> Passes | None:
        """Runs passes over training vectors that stay in the bank; None for features in memory, and for maps."""
        return Passes(self.X) if isinstance(self.X, StoredVectors) else None

    @cached_property
    def validation_passes(self) -> Passes | None:
        """The same of the validation images."""
        return Passes(self.X_val) if isinstance(self.X_val, StoredVectors) else None

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


def load_validation(bank: FeatureRows, tap: str, positions: np.ndarray, *, beside: int) -> Features:
    """Loads the features of validation images beside so many rows of training images; see `load_features`."""
    return load_features(bank, tap, positions, beside=beside, share=_VALIDATION)[0]


def load_features(
    bank: FeatureRows, tap: str, positions: np.ndarray, *, views: int = 0, beside: int = 0, share: float = _TRAINING
) -> tuple[Features, list[np.ndarray]]:
    """Loads the features of some images and their views; those that need more than half of `--ram` stay in the bank.

    Args:
        bank: the bank, or the features of a joined tap.
        tap: its tap.
        positions: (n,) which images, as positions in `Bank.ids()`.
        views: the number of augmented views to load.
        beside: the number of rows that are used at the same time. Vectors also stay in the bank if they need more than
            half of `--ram` together with those, and more than `share` of it alone.
        share: see `beside`.

    Raises:
        UnknownNameError: the bank has no such tap.
        RamLimitError: the augmented views of maps do not fit into memory.
    """
    vectors = stored_vectors(bank, tap, positions, 1 + views)
    if vectors.ndim == 2:  # noqa: PLR2004 - rows and columns
        together = vectors.needed_bytes + beside * vectors.row_bytes
        if together > ram_limit() // 2 and vectors.needed_bytes > (share if beside else _ALONE) * ram_limit():
            return vectors, []
    elif not isinstance(bank, JoinedRows) and (stored := stored_maps(bank, tap, positions, views=views)) is not None:
        return stored, []
    if views and (size := vectors.needed_bytes) > ram_limit():
        message = (
            f"the features of tap '{tap}' take {tidy_bytes(size)} in {counted(1 + views, 'view')}, and --ram allows "
            f"{tidy_bytes(ram_limit())}: increase --ram, or extract fewer views"
        )
        raise RamLimitError(message)
    X, *more = (bank.rows(tap, positions, view=view) for view in range(1 + views))
    return X, more


def check_fit(X: StoredFeatures, tap: str, *, beside: int = 0) -> None:
    """Checks that stored vectors can be loaded; maps are checked when they are read.

    Args:
        X: the features.
        tap: their tap.
        beside: the bytes of the features that are in memory already.

    Raises:
        RamLimitError: all features together need more than `--ram` allows; the message says how many images fit.
    """
    if not isinstance(X, StoredVectors) or X.needed_bytes + beside <= ram_limit():
        return
    fitting = (ram_limit() // 2 - beside) // max(1, X.row_bytes * X.views)
    example = f", such as --sample {fitting}" if fitting > 1 else ""
    message = (
        f"it needs the features of tap '{tap}' in memory, {tidy_bytes(X.needed_bytes + beside)}, and --ram allows "
        f"{tidy_bytes(ram_limit())}: train it on fewer images with --sample N{example}, or increase --ram"
    )
    raise RamLimitError(message)
