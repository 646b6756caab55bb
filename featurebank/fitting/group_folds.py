"""Folds that keep groups whole: images that share a group or a content are in one fold."""

from __future__ import annotations

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset.grouping.components import GROUP
from featurebank.errors import DatasetError
from featurebank.system.alike import enumerate_some
from featurebank.words import counted


def assign_group_folds(
    parts: np.ndarray, digests: np.ndarray, labels: np.ndarray, folds: int, repeat: int = 0
) -> np.ndarray:
    """Assigns whole components to folds, so that folds have similar sizes and similar shares of each class.

    Components are dealt out by size, the largest first, each to the fold that has the least of its classes so far. An
    exact stratification is not possible in general.

    Args:
        parts: (n,) the component of each image.
        digests: (n,) digests of the images' contents; each content counts once.
        labels: (n,) labels; a content with several labels counts for the smallest label.
        folds: the number of folds.
        repeat: the seed of the division.

    Returns:
        The fold of each image, (n,) int64 from 0. No fold is empty if there are as many components as folds.

    Example:
        >>> digests = np.array([b"%d" % number for number in range(6)])
        >>> assign_group_folds(np.array([0, 0, 1, 1, 2, 2]), digests, np.array([0, 0, 0, 0, 1, 1]), 3).tolist()
        [2, 2, 0, 0, 1, 1]
    """
    components, classes, counts = _counts(parts, digests, labels)
    order = _order(components, counts, repeat)
    totals = np.bincount(classes, counts)
    fold_counts, sizes = np.zeros((folds, len(totals))), np.zeros(folds)
    fold_of = np.empty(int(parts.max(initial=-1)) + 1, np.int64)
    ends = np.flatnonzero(np.diff(components[order], append=-1)) + 1
    for start, end in zip(np.r_[0, ends[:-1]].tolist(), ends.tolist(), strict=True):
        rows = order[start:end]
        own, number = classes[rows], counts[rows]
        cost = fold_counts[:, own] @ (number / totals[own]) + sizes * number.sum() / totals.sum()
        fold = int(cost.argmin())
        fold_counts[fold, own] += number
        sizes[fold] += number.sum()
        fold_of[components[rows[0]]] = fold
    return np.asarray(fold_of[parts])


def group_fold_counts(parts: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Returns the number of components that have images of each class: {label: number}."""
    pairs = np.unique(np.stack([labels.astype(np.int64), parts]), axis=1)
    values, numbers = np.unique(pairs[0], return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


def whole_folds(bank: Bank, positions: np.ndarray, parts: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Returns the folds of a dataset, with one fold for each component.

    Args:
        bank: the bank.
        positions: (n,) its training and validation images.
        parts: (n,) the component of each.
        numbers: (n,) the fold that the dataset defines for each.

    Returns:
        (n,) int64, the smallest fold in each component: groups that share a content may have several.

    Raises:
        DatasetError: a group has images in several folds.
    """
    names, codes = np.unique(bank.metadata()[GROUP][positions], return_inverse=True)
    low, high = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
    np.minimum.at(low, codes, numbers)
    np.maximum.at(high, codes, numbers)
    if len(torn := names[low != high].tolist()):
        stand = "1 group stands" if len(torn) == 1 else f"{len(torn)} groups stand"
        message = (
            f"{stand} in several of the folds that the dataset of '{bank.name}' defines, {enumerate_some(torn)}: give "
            "each group one fold, or use a number of folds, which keeps groups whole"
        )
        raise DatasetError(message)
    of_part = np.full(int(parts.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(of_part, parts, numbers)
    return np.asarray(of_part[parts])


def few_groups(bank: Bank, folds: int, parts: np.ndarray, labels: np.ndarray) -> str | None:
    """Checks that heads can be trained on all folds of groups but any one.

    Args:
        bank: the bank.
        folds: the number of folds.
        parts: (n,) the component of each training and validation image.
        labels: (n,) their labels.

    Returns:
        A warning if a class is in fewer groups than there are folds, else None.

    Raises:
        DatasetError: there are fewer groups than folds, or fewer than two classes are in several groups.
    """
    counts, total = group_fold_counts(parts, labels), len(np.unique(parts))
    several, single = (sum((count > 1) == more for count in counts.values()) for more in (True, False))
    if total < folds or several + (single > 1) < 2:  # noqa: PLR2004 - classes that a head needs
        message = (
            f"{counted(folds, 'fold')} need at least {folds} groups of training and validation images, and two classes "
            f"in at least two groups each, but '{bank.name}' has {counted(total, 'group')} of "
            f"{counted(len(counts), 'class')} (groups with an image in common count as one): use fewer folds, or other "
            "--groups"
        )
        raise DatasetError(message)
    few = [bank.classes[label] for label, count in counts.items() if count < folds]
    if not few:
        return None
    return (
        f"{len(few)} of {counted(len(counts), 'class')} {'is' if len(few) == 1 else 'are'} in fewer groups than "
        f"{counted(folds, 'fold')}: {enumerate_some(few)}"
    )


def _counts(parts: np.ndarray, digests: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns how many contents of each class each component has: (m,) components, classes and numbers."""
    order = np.lexsort((labels, digests))
    first = np.r_[True, digests[order][1:] != digests[order][:-1]] if len(order) else np.zeros(0, bool)
    rows = order[first]
    pairs, numbers = np.unique(np.stack([parts[rows], labels[rows].astype(np.int64)]), axis=1, return_counts=True)
    return pairs[0], pairs[1], numbers


def _order(components: np.ndarray, counts: np.ndarray, repeat: int) -> np.ndarray:
    """Returns the rows of `_counts` component by component, the largest first; equal ones in random order."""
    names, codes = np.unique(components, return_inverse=True)
    sizes = np.bincount(codes, counts)
    random = np.random.default_rng([repeat]).permutation(len(names))
    return np.lexsort((codes, random[codes], -sizes[codes]))
