"""Cross-validation folds of the training and validation images.

The folds depend on the contents of the images, not on their names: within each class, images are sorted by their
digests, shuffled with the number of the repetition as seed, and assigned to the folds in turn. Images with the same
content are in the same fold, so that no head is validated on an image that it was trained on. Where images belong to
groups, whole groups are assigned (see `group_folds`). The test split is not used.

A dataset may define its own folds (folders fold1, fold2, ..., or a column `fold` of a table), to keep related images
together, such as those of one patient.
"""

from __future__ import annotations

from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.dataset.class_names import in_order
from featurebank.dataset.core import FOLD
from featurebank.errors import DatasetError
from featurebank.fitting.checks import check_sample
from featurebank.fitting.data import DataReference, Features, TrainingData, load_features
from featurebank.fitting.group_folds import assign_group_folds, few_groups, whole_folds
from featurebank.fitting.weights import training_images
from featurebank.storage.caches import portable_path
from featurebank.system import digest
from featurebank.system.alike import enumerate_some
from featurebank.words import counted

_MARK_DIGITS = 12


class Fold(NamedTuple):
    """One fold of one division of the images."""

    part: int
    """The number of the fold, from 0."""
    folds: int
    """The number of folds."""
    repeat: int = 0
    """The number of the division, from 0; if negative, an identifier of the dataset's own assignment of images."""

    @property
    def protocol(self) -> int:
        """The number of folds; negative for the dataset's own, so that the two kinds are never compared."""
        return -self.folds if self.repeat < 0 else self.folds


def assign_folds(digests: np.ndarray, labels: np.ndarray, folds: int, repeat: int = 0) -> np.ndarray:
    """Assigns images to folds, stratified by class.

    Args:
        digests: (n,) digests of the images' contents.
        labels: (n,) labels; a content with several labels counts for the smallest label.
        folds: the number of folds.
        repeat: the seed of the division.

    Returns:
        The fold of each image, (n,) int64 from 0.
    """
    contents, which = np.unique(digests, return_inverse=True)
    of_content = np.full(len(contents), np.iinfo(np.int64).max)
    np.minimum.at(of_content, which, labels)
    dealt = np.empty(len(contents), np.int64)
    begin = 0  # each class continues where the previous one ended, so that folds have equal sizes
    for label in np.unique(of_content):
        members = np.flatnonzero(of_content == label)
        order = np.random.default_rng([repeat, int(label)]).permutation(len(members))
        dealt[members[order]] = (begin + np.arange(len(members))) % folds
        begin += len(members)
    return dealt[which]


def dataset_folds(bank: Bank) -> list[Fold]:
    """Returns the folds that the dataset of a bank defines, in their order.

    Raises:
        DatasetError: the dataset defines no folds, or an image has none.
    """
    return [Fold(part, len(names), mark) for names, _, mark in [_own_folds(bank)] for part in range(len(names))]


def requested_protocol(folds: int | Literal["given"] | None, bank: Bank) -> int | None:
    """Returns the protocol of a request: of "given" that of the dataset's own folds, else the number as it is.

    Raises:
        DatasetError: see `dataset_folds`.
    """
    return dataset_folds(bank)[0].protocol if folds == "given" else folds


def _own_folds(bank: Bank) -> tuple[list[str], np.ndarray, int]:
    """Returns the names of the dataset's folds, the fold of each training and validation image, (n,) int64, and their
    identifier.
    """
    positions = positions_in(bank, "train", "val")
    column = bank.metadata().get(FOLD)
    if column is None:
        message = (
            f"the dataset of '{bank.name}' defines no folds: expected folders fold1, fold2, ... that contain the class "
            f"folders, or a table with a column '{FOLD}'; or use a number of folds"
        )
        raise DatasetError(message)
    texts = np.array([str(value) for value in column[positions].tolist()])
    if missing := int(np.isin(texts, ["", "nan"]).sum()):
        message = (
            f"{counted(missing, 'image')} of '{bank.name}' {'has' if missing == 1 else 'have'} no fold: enter one for "
            f"each image in the column '{FOLD}'"
        )
        raise DatasetError(message)
    names = in_order(texts.tolist())
    if len(names) < 2:  # noqa: PLR2004 - one to validate on, one to train on
        message = f"the dataset of '{bank.name}' has a single fold: expected at least two"
        raise DatasetError(message)
    code = {name: number for number, name in enumerate(names)}
    numbers, parts = np.array([code[text] for text in texts.tolist()]), bank.groups()
    if parts is not None:
        numbers = whole_folds(bank, positions, parts[positions], numbers)
    contents, which = np.unique(bank.digests()[positions], return_inverse=True)
    of_content = np.full(len(contents), len(names))
    np.minimum.at(of_content, which, numbers)
    mark = int(digest.of_recipe([digest.of_array(contents), digest.of_array(of_content)])[:_MARK_DIGITS], 16)
    return list(names), of_content[which], -1 - mark


def check_folds(bank: Bank, folds: int) -> str | None:
    """Checks that heads can be trained on all folds but any one.

    Returns:
        A warning if a class has fewer distinct images than there are folds: some folds then have no image of it for
        validation, and if all its images are in one fold, heads are trained without the class there. Otherwise None.

    Raises:
        DatasetError: there are fewer distinct images (or groups) than folds, or all but one belong to one class.
    """
    positions = positions_in(bank, "train", "val")
    digests, labels = bank.digests()[positions], bank.labels()[positions]
    if (parts := bank.groups()) is not None:
        return few_groups(bank, folds, parts[positions], labels)
    counts = {label: len(np.unique(digests[labels == label])) for label in np.unique(labels).tolist()}
    several, single = (sum((count > 1) == more for count in counts.values()) for more in (True, False))
    if sum(counts.values()) < folds or several + (single > 1) < 2:  # noqa: PLR2004 - classes that a head needs
        message = (
            f"{counted(folds, 'fold')} need at least {folds} different training and validation images, and two classes "
            f"with at least two images each, but '{bank.name}' has {counted(sum(counts.values()), 'image')} of "
            f"{counted(len(counts), 'class')}: use fewer folds, or add images"
        )
        raise DatasetError(message)
    few = [bank.classes[label] for label, count in counts.items() if count < folds]
    if not few:
        return None
    unseen = ""
    if single:
        verb = "has" if single == 1 else "have"
        unseen = f"; {single} of them {verb} one image, on which heads are evaluated without training on the class"
    return (
        f"{len(few)} of {counted(len(counts), 'class')} {'has' if len(few) == 1 else 'have'} fewer images than "
        f"{counted(folds, 'fold')}: {enumerate_some(few)}{unseen}"
    )


def fold_positions(bank: Bank, fold: Fold, *, inside: bool) -> np.ndarray:
    """Returns the positions in `bank.ids()` of the images in a fold, or of those in the other folds: (n,) int64."""
    positions = positions_in(bank, "train", "val")
    chosen = _is_inside(bank, positions, fold)
    return np.asarray(positions[chosen if inside else ~chosen])


def _is_inside(bank: Bank, positions: np.ndarray, fold: Fold) -> np.ndarray:
    """Returns which training and validation images, at (n,) positions in `bank.ids()`, are in a fold: (n,) bool."""
    key = (fold.folds, fold.repeat)
    known = _numbers.setdefault(bank, {})
    if key not in known:
        known[key] = _numbers_of(bank, positions, fold)
    return np.asarray(known[key] == fold.part)


_numbers: WeakKeyDictionary[Bank, dict[tuple[int, int], np.ndarray]] = WeakKeyDictionary()
"""The folds of the images of each open bank, by the number of folds and the repetition; groups take long to assign."""


def _numbers_of(bank: Bank, positions: np.ndarray, fold: Fold) -> np.ndarray:
    if fold.repeat < 0:
        return _own_folds(bank)[1]
    digests, labels, parts = bank.digests()[positions], bank.labels()[positions], bank.groups()
    if parts is None:
        return assign_folds(digests, labels, fold.folds, fold.repeat)
    return assign_group_folds(parts[positions], digests, labels, fold.folds, fold.repeat)


class FoldedImages:
    """The training and validation images of one tap, loaded once for all folds; large features stay in the bank.

    Args:
        bank: the bank.
        tap: the tap.
        views: the number of augmented views to load; default: all views of the bank.

    Raises:
        DatasetError: there are no images, or only images of one class.
        UnknownNameError: the bank has no such tap.
        RamLimitError: the augmented views of maps do not fit into memory.
    """

    def __init__(self, bank: Bank, tap: str, views: int | None = None) -> None:
        views = bank.views if views is None else views
        positions = positions_in(bank, "train", "val")
        self._bank, self._tap, self._classes, self._view_count = bank, tap, len(bank.classes), views
        self._positions = positions
        self._labels, groups = bank.labels()[positions], bank.groups()
        self._groups = None if groups is None else groups[positions]
        if len(present := np.unique(self._labels)) < 2:  # noqa: PLR2004 - a classifier needs two
            what = f"of class '{bank.classes[int(present[0])]}'" if len(present) else "in the test split"
            message = f"all images of '{bank.name}' are {what}: heads need training images of at least two classes"
            raise DatasetError(message)
        self._features: Features
        self._features, self._views = load_features(bank, tap, positions, views=views)

    def data(self, fold: Fold, sample: int | None = None) -> TrainingData:
        """Returns the images of a fold as validation images, and all others, or a sample of them, as training images.

        Args:
            fold: the fold.
            sample: the number of training images, see `TrainingData.of`; None for all.
        """
        inside = _is_inside(self._bank, self._positions, fold)
        X, y = self._features, self._labels
        training, weights = training_images(self._bank, self._positions[~inside], sample)
        outside = np.searchsorted(self._positions, training)
        if sample is not None:
            check_sample(self._bank, y[outside])
        views = [view[outside] for view in self._views]
        place, mark = portable_path(self._bank.path), self._bank.digest
        reference = DataReference(place, mark, self._tap, self._view_count, fold, sample)
        return TrainingData(
            self._tap, X[outside], y[outside], X[inside], y[inside], self._classes, views, reference, weights,
            None if self._groups is None else self._groups[inside], class_names=self._bank.classes,
        )  # fmt: skip
