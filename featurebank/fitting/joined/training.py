"""The training data of heads on a joined tap: scaled by the training images of the split, the fold or the sample.

The scale counts each of these images once, whatever its weight: heads with and without weights share the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.fitting.checks import check_sample, check_splits
from featurebank.fitting.data import DataReference, Features, TrainingData, load_features, load_validation
from featurebank.fitting.folds import Fold, FoldedImages, fold_positions
from featurebank.fitting.joined.parts import JoinedTap, resolve
from featurebank.fitting.joined.rows import JoinedRows, JoinedVectors
from featurebank.fitting.joined.text import is_joined
from featurebank.fitting.weights import training_images
from featurebank.heads.exact.transforms import row_blocks
from featurebank.heads.joined.scaling import JoinedScaling
from featurebank.storage.caches import portable_path


def training_data(
    bank: Bank, tap: str, views: int | None, fold: Fold | None = None, sample: int | None = None, *,
    recorded: Mapping[str, Any] | None = None,
) -> TrainingData:  # fmt: skip
    """Loads the features of a tap, joined or not.

    Args:
        bank: the bank.
        tap: a tap of the bank, or a joined tap.
        views: the number of augmented views of the training images; None for all views of the bank.
        fold: the fold whose images validate; None for the bank's own split.
        sample: the number of training images; None for all.
        recorded: see `featurebank.fitting.joined.parts.resolve`.

    Raises:
        ConfigError: a part of a joined tap cannot be used.
        DatasetError, UnknownNameError, RamLimitError: see `TrainingData.of`.
    """
    if is_joined(tap, bank.taps):
        return _joined_data(resolve(bank, tap, recorded), tap, views, fold, sample)
    if fold is None:
        return TrainingData.of(bank, tap, views, sample)
    return FoldedImages(bank, tap, views).data(fold, sample)


def _joined_data(
    joined: JoinedTap, tap: str, views: int | None, fold: Fold | None, sample: int | None
) -> TrainingData:  # fmt: skip
    bank = joined.bank
    views = bank.views if views is None else views
    if fold is None:
        check_splits(bank)
        train, val = positions_in(bank, "train"), positions_in(bank, "val")
    else:
        train, val = (fold_positions(bank, fold, inside=inside) for inside in (False, True))
    train, weights = training_images(bank, train, sample)
    y, y_val = (bank.labels()[positions] for positions in (train, val))
    groups = bank.groups()
    check_sample(bank, y)
    rows = JoinedRows(joined, joined.encoding(train))
    X, more = load_features(rows, tap, train, views=views, beside=len(val))
    scaling = JoinedScaling.fit(_blocks(X), rows.taps, rows.encoding)
    X_val = load_validation(rows, tap, val, beside=len(train) * (1 + views))
    reference = DataReference(portable_path(bank.path), bank.digest, tap, views, fold, sample)
    return TrainingData(
        tap, _scaled(X, scaling), y, _scaled(X_val, scaling), y_val, len(bank.classes),
        [scaling.apply_in_place(view) for view in more], reference, weights,
        None if groups is None else groups[val], scaling, bank.classes,
    )  # fmt: skip


def _blocks(X: Features) -> Iterator[np.ndarray]:
    if isinstance(X, JoinedVectors):
        return (block.X for block in X.blocks())
    array = np.asarray(X)
    return (array[rows] for rows in row_blocks(len(array), array.shape[1]))


def _scaled(X: Features, scaling: JoinedScaling) -> Features:
    """Returns scaled features; an array is scaled in place."""
    return X.scaled(scaling) if isinstance(X, JoinedVectors) else scaling.apply_in_place(np.asarray(X))
