"""The images of a bank that are examined: those with labels outside of the test split, or a random sample of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from featurebank.advice.result import ExaminedImage
from featurebank.bank import Bank
from featurebank.bank.vectors import vector_tap
from featurebank.errors import ConfigError
from featurebank.extraction.source_images import image_paths
from featurebank.similarity.queries import check_images
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import ram_limit
from featurebank.words import counted

LEAST_IMAGES = 10
"""Of fewer images, nothing can be said."""
MOST_IMAGES = 50_000
"""Of more images, a random sample of so many is examined."""
_EXAMINED_SPLITS = ("train", "val")


@dataclass(frozen=True)
class ExaminedImages:
    """The labelled images of a bank that are examined, in the order of the bank, which is random."""

    bank: Bank
    tap: str
    positions: np.ndarray
    """(n,) int64, in `Bank.ids()`."""
    features: np.ndarray
    """(n, d) float32."""
    labels: np.ndarray
    """(n,) int32."""
    total: int
    """The number of all labelled images outside of the test split; n are examined."""
    groups: np.ndarray | None = None
    """(n,) int64, equal for images that belong together: those of one group of the dataset, or of one content; None if
    all are apart."""
    reporter: Reporter = SILENT
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how the images were examined."""

    def __len__(self) -> int:
        return len(self.positions)

    def sample(self, most: int, what: str) -> np.ndarray:
        """Returns the rows (m,) of at most so many images, and notes if they are a sample."""
        if len(self) <= most:
            return np.arange(len(self))
        self.notes.append(f"{what}: a random sample of {most} of {counted(len(self), 'image')}.")
        return np.sort(np.random.default_rng(0).choice(len(self), most, replace=False))

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Returns the groups (m,) of some of the images; None if all are apart."""
        return None if self.groups is None else self.groups[rows]

    def describe(self, rows: np.ndarray | Sequence[int]) -> list[ExaminedImage]:
        """Returns some of the images as plain values."""
        return described(self.bank, self.positions[np.asarray(rows, np.int64)])


def described(bank: Bank, positions: np.ndarray) -> list[ExaminedImage]:
    """Returns images of a bank as plain values.

    Args:
        bank: the bank.
        positions: (n,) positions in `Bank.ids()`.
    """
    ids, labels, splits = bank.ids_at(positions), bank.labels()[positions], bank.splits()[positions]
    return [
        ExaminedImage(name, bank.classes[label], str(split), path, position)
        for name, label, split, path, position in zip(
            ids, labels.tolist(), splits, image_paths(bank, ids) if ids else (), positions.tolist(), strict=True
        )
    ]


def examined_images(bank: Bank, tap: str | None, reporter: Reporter) -> ExaminedImages:
    """Reads the images to examine.

    Args:
        bank: the bank.
        tap: the tap; None for "pooled" or the first other tap of vectors.
        reporter: receives the progress.

    Raises:
        ConfigError: there are no images, no such tap of vectors, or too few labelled images of two classes.
        BankError: the bank cannot be read.
    """
    check_images(bank)
    chosen = vector_tap(bank) if tap is None else tap
    if chosen is None or len(bank.tap_shape(chosen)) != 1:
        message = (
            f"tap '{chosen or ', '.join(bank.taps)}' of bank '{bank.name}' has maps: expected vectors; add a tap with "
            "'featurebank extract --tap pooled'"
        )
        raise ConfigError(message)
    labelled = np.isin(bank.splits(), _EXAMINED_SPLITS)
    positions, notes = np.flatnonzero(labelled), list[str]()
    total = len(positions)
    if (tests := int((bank.splits() == "test").sum())) > 0:
        notes.append(
            f"The labels of {counted(tests, 'test image')} were not examined: a test should not be adapted to what is "
            "tested."
        )
    most = min(MOST_IMAGES, max(1, ram_limit() // 4 // (4 * math.prod(bank.tap_shape(chosen)))))
    if len(positions) > most:
        notes.append(f"A random sample of {most} of {counted(len(positions), 'image')} was examined.")
        positions = np.sort(np.random.default_rng(0).choice(positions, most, replace=False))
    labels = bank.labels()[positions]
    if len(positions) < LEAST_IMAGES or len(np.unique(labels)) < 2:  # noqa: PLR2004 - a label can be wrong if there is another
        message = (
            f"bank '{bank.name}' has {counted(len(positions), 'labelled image')} of "
            f"{counted(len(np.unique(labels)), 'class')} in training and validation: expected {LEAST_IMAGES} images "
            "and two classes at least"
        )
        raise ConfigError(message)
    with reporter.step(f"reading the features of {counted(len(positions), 'image')}"):
        features = bank.rows(chosen, positions)
    groups = _groups(bank, positions, notes)
    return ExaminedImages(bank, chosen, positions, features, labels, total, groups, reporter, notes)


def _groups(bank: Bank, positions: np.ndarray, notes: list[str]) -> np.ndarray | None:
    """Returns which images belong together, (n,) int64; None if all are apart."""
    known = bank.groups()
    groups = np.unique(bank.digests()[positions], return_inverse=True)[1] if known is None else known[positions]
    if known is not None:
        notes.append("Each image was predicted without its group, as the split keeps groups together.")
    return None if len(np.unique(groups)) == len(groups) else groups
