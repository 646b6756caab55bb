"""The images that a bank was made of, found again: by the dataset that its manifest names, and by their content."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset, load_dataset
from featurebank.errors import BadImageError


def original_dataset(bank: Bank) -> Dataset:
    """Loads the dataset that a bank was made of, as it is now.

    Raises:
        FeatureBankError, OSError: it is not there any more.
    """
    record = bank.manifest.dataset
    subset = {name: value for name, value in record.get("subset", {}).items() if value is not None}
    return load_dataset(record["spec"], split=record["fractions"], seed=record["seed"], **subset)


def unchanged(
    bank: Bank, dataset: Dataset, rows: int, seed: int = 0, *, splits: Sequence[str] = ()
) -> list[tuple[int, int]]:
    """Chooses images that are still what they were when their features were computed.

    Args:
        bank: whose images.
        dataset: what `original_dataset` gave.
        rows: how many; where fewer are found, all of them.
        seed: of the choice.
        splits: those that they are taken from; empty for all.

    Returns:
        For each its position in `bank.ids()` and in `dataset.ids`.
    """
    place = {name: index for index, name in enumerate(dataset.ids)}
    digests, ids = bank.digests(), bank.ids()
    positions = np.random.default_rng(seed).permutation(len(ids))
    if splits:
        positions = positions[np.isin(bank.splits()[positions], list(splits))]
    chosen: list[tuple[int, int]] = []
    for position in positions.tolist():
        if len(chosen) == rows:
            break
        index = place.get(ids[position])
        if index is not None and _is_same(dataset, index, digests[position]):
            chosen.append((position, index))
    return chosen


def _is_same(dataset: Dataset, index: int, expected: bytes) -> bool:
    try:
        return dataset.content_digest(index) == expected
    except (OSError, BadImageError):
        return False
