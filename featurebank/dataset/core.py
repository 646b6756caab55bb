"""The dataset: columns of ids, labels and content digests; the images themselves are read on demand.

A content digest is the hash of an image's bytes. It identifies the image everywhere in featurebank: its split, its rows
in a bank and its duplicates are found by it, so that paths and order do not matter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from featurebank.dataset.decoding.decode import Facts
from featurebank.dataset.decoding.levels import Depths, Levels
from featurebank.dataset.fingerprint import Pixels, digest_all
from featurebank.dataset.fingerprint_cache import digest_changed
from featurebank.dataset.grouping.components import component_keys, components, spread_splits
from featurebank.dataset.grouping.further_columns import FurtherColumns
from featurebank.dataset.splits import SPLITS, UNLABELLED, UNLABELLED_CODE, assign
from featurebank.dataset.warning_lines import warning_lines
from featurebank.errors import LostImageError
from featurebank.system import digest
from featurebank.system.alike import shorten
from featurebank.system.html import never_fails
from featurebank.words import counted

FOLD = "fold"
"""Name of the metadata column with the number of each image's fold, if a dataset has folds."""

_NAME_LENGTH = 40


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be used, and the reason in a short phrase."""

    id: str
    reason: str


@dataclass(frozen=True)
class Contents:
    """What the loader of a kind of dataset returns; `Dataset` adds the splits.

    Args:
        name: slug for directory names.
        spec: the canonical specification that loads the same dataset again.
        classes: names of the classes.
        ids: one unique id per image.
        labels: (n,) int32, indices into `classes`; -1 for images without a label.
        pixels: the source of the images.
        predefined: (n,) int8 split codes, -1 for images whose content decides; None if it decides for all.
        notes: notes for the user, one line each.
        labelled: whether the labels are meaningful; then there must be at least two classes.
        metadata: further columns, (n,) arrays of int64, float64, bool or str.
        subset: the part of the dataset `spec`; empty for the whole.
        weights: (n,) float64 of 0 or more, how much each image counts in the training; None for 1 each.
        weight_column: the name of the column of the table that holds the weights.
        groups: (n,) str, the name of the group of each image; None if images belong to no groups.
        group_rule: the column or the rule that the groups were read by; see `grouping.rule`.
        further: columns that are not among `metadata`, because they are read only when groups are asked for.
    """

    name: str
    spec: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: np.ndarray
    pixels: Pixels
    predefined: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    labelled: bool = True
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)
    subset: Mapping[str, Any] = field(default_factory=dict)
    weights: np.ndarray | None = None
    weight_column: str = ""
    groups: np.ndarray | None = None
    group_rule: str = ""
    further: FurtherColumns | None = None


class Dataset:
    """Labelled images in three splits, as columns: row i of every column is image i.

    Creating a dataset is cheap: image files are listed, not read. Content digests, and the splits that depend on them,
    are computed once, on first use or by `fingerprint`.

    Attributes:
        name: slug for directory names, as "digits" or "photos-3fa2b1".
        spec: the canonical specification that loads the dataset again, as "folder:/home/me/photos"; for a subset, the
            specification of the whole.
        classes: the class names, sorted.
        ids: one unique id per image: its path relative to the folder with "/", or its index in the arrays.
        labels: (n,) int32 indices into `classes`; -1 for images without a label.
        fractions: the fractions (train, val, test) for the images without a given split.
        seed: the seed of these images' splits.
        metadata: further columns of a manifest, (n,) arrays of int64, float64, bool or str; empty for other kinds. A
            missing value is nan or "".
        weights: (n,) float64 of 0 or more, how much each image counts in the training; None for 1 each.
        subset: the arguments `classes`, `limit`, `per_class` and `test` of `load_dataset`; empty for a whole dataset.
        groups: (n,) str, the name of the group of each image; None if images belong to no groups.
        contents: the result of the loader.

    Example:
        >>> dataset = fb.load_dataset("digits", classes=["3", "7"])
        >>> dataset, dataset.image(0).shape, dataset.ids[:2]
        (<Dataset digits: 362 images, 2 classes>, (8, 8, 3), ('3', '7'))
        >>> dataset.counts()["val"]
        {'3': 25, '7': 26}
    """

    split_names: ClassVar[tuple[str, ...]] = SPLITS

    def __init__(self, contents: Contents, fractions: tuple[float, float, float], seed: int) -> None:
        self.name = contents.name
        self.spec = contents.spec
        self.classes = contents.classes
        self.ids = contents.ids
        self.labels = contents.labels
        self.fractions = fractions
        self.seed = seed
        self.metadata = contents.metadata
        self.weights = contents.weights
        self.subset = contents.subset
        self.groups = contents.groups
        self.contents = contents
        self._digests: np.ndarray | None = None
        self._unreadable: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Dataset {self.spec}: {counted(len(self), 'image')}, {counted(len(self.classes), 'class')}>"

    @never_fails
    def _repr_html_(self) -> str:
        """Returns the display of notebooks; reads no image but a few local ones for the pictures."""
        from featurebank.dataset.display import dataset_html

        return dataset_html(self)

    @property
    def is_fingerprinted(self) -> bool:
        """Whether the content digests, and with them the splits, are known without reading the images."""
        return self._digests is not None

    def fingerprint(self, progress: Callable[[int], None] | None = None, memory: Path | None = None) -> None:
        """Computes the content digests now; does nothing if they have been computed.

        Args:
            progress: called from time to time, in this thread, with the number of further images that are done.
            memory: directory of the cache of files' digests, so that only new and changed files are read.
        """
        if self._digests is None:
            pixels = self.contents.pixels
            if memory is None:
                digests, failed = digest_all(pixels, len(self), progress)
            else:
                digests, failed = digest_changed(pixels, self.ids, memory / f"{self.name}.npz", progress)
            self._unreadable, self._digests = dict(failed), digests

    def know_digests(self, digests: np.ndarray) -> None:
        """Sets the content digests, which are known from elsewhere: (n,) "S32" of readable images."""
        self._digests, self._unreadable = digests, {}

    @property
    def digests(self) -> np.ndarray:
        """(n,) hexadecimal content digests of dtype "S32"; b"" for unreadable images."""
        self.fingerprint()
        assert self._digests is not None
        return self._digests

    def distinct(self) -> np.ndarray:
        """Returns the sorted distinct digests of all readable images, (m,); a bank has one row for each."""
        return digest.distinct(self.digests[self.digests != b""])

    def content_digest(self, index: int) -> bytes:
        """Returns the current content digest of one image, and reads no other image.

        Raises:
            OSError: the image cannot be read.
        """
        return self.contents.pixels.digest(index).encode()

    @property
    def unreadable(self) -> list[Skipped]:
        """The images whose content could not be read, with the reasons."""
        self.fingerprint()
        return [Skipped(self.ids[index], why) for index, why in self._unreadable.items()]

    @functools.cached_property
    def splits(self) -> np.ndarray:
        """(n,) uint8 codes: 0 train, 1 val, 2 test; 3 for an image without a label, which is in no split. See
        `featurebank.dataset.splits.assign`.

        Where images have groups, those of one component (see `components`) share a split.
        """
        return np.where(self.labels < 0, np.uint8(UNLABELLED_CODE), self._assigned())

    def _assigned(self) -> np.ndarray:
        if self.groups is None or self.components is None:
            return assign(self.digests, self.contents.predefined, self.fractions, self.seed)
        keys, codes = component_keys(self.groups, self.components), self.contents.predefined
        codes = None if codes is None else spread_splits(codes, self.groups, self.components)
        return assign(keys, codes, self.fractions, self.seed)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of labels: those of the classes, and "unlabelled", which label -1 is an index of, too."""
        return (*self.classes, UNLABELLED)

    @functools.cached_property
    def components(self) -> np.ndarray | None:
        """(n,) int64, the number of each image's component: images that share a group or a content, directly or through
        others; None if images belong to no groups.
        """
        return None if self.groups is None else components(self.groups, self.digests)

    def image(self, index: int, levels: Levels | None = None, expected: bytes | None = None) -> np.ndarray:
        """Reads and decodes one image; may be called from several threads.

        Args:
            index: row of the image.
            levels: the range of grey images of more than eight bits.
            expected: the content digest that it has to have; None for that of `digests`, if they are known.

        Returns:
            (height, width, 3) uint8, RGB; may be read-only.

        Raises:
            BadImageError: it cannot be read or decoded, or does not have the expected content.
        """
        return self.contents.pixels.image(index, expected or self._known(index), levels)

    def image_with_digest(self, index: int, levels: Levels | None = None) -> tuple[np.ndarray, bytes]:
        """Reads and decodes one image like `image`, and returns its content digest, too; reads its bytes once."""
        known, pixels = self._known(index), self.contents.pixels
        return pixels.image_with_digest(index, levels) if known is None else (self.image(index, levels), known)

    def facts(self, index: int, levels: Levels | None = None) -> Facts:
        """Decodes one image like `image`, and returns its properties instead of its pixels.

        Raises:
            BadImageError: see `image`.
        """
        return self.contents.pixels.facts(index, self._known(index), levels)

    def depth_warnings(self, levels: Levels | None = None) -> list[str]:
        """Returns a warning if the images decoded so far lost much of their range of more than eight bits."""
        depths: Depths | None = getattr(self.contents.pixels, "depths", None)
        return [line] if depths and (line := depths.warning(levels)) else []

    @property
    def in_threads(self) -> bool:
        """Whether several threads read images faster than one: true for files, false for arrays."""
        return self.contents.pixels.in_threads

    def _known(self, index: int) -> bytes | None:
        """Returns the expected digest of an image, if it is known; raises BadImageError for an unreadable image."""
        if index in self._unreadable:
            raise LostImageError(self._unreadable[index])
        return None if self._digests is None else bytes(self._digests[index])

    def counts(self) -> dict[str, dict[str, int]]:
        """Counts the readable images: {split: {class: number}}, with every split and every class."""
        table = self._table()
        return {
            split: {name: int(number) for name, number in zip(self.classes, row, strict=True)}
            for split, row in zip(SPLITS, table, strict=True)
        }

    def warnings(self, *, files: bool = True) -> list[str]:
        """Returns the problems of the dataset, one line each; of similar lines, only the first few.

        If no image can be read, the consequences (empty splits and classes) are not listed.

        Args:
            files: also count unreadable files and copies in several splits.
        """
        return shorten(list(warning_lines(self, self._table(), files=files)))

    def _table(self) -> np.ndarray:
        """Returns the number of readable images, (splits, classes)."""
        size = len(self.classes)
        readable = (self.digests != b"") & (self.labels >= 0)
        cells = self.splits[readable].astype(np.int64) * size + self.labels[readable]
        return np.bincount(cells, minlength=len(SPLITS) * size).reshape(len(SPLITS), size)


def path_name(path: str, key: str | None = None) -> str:
    """Returns a slug for a dataset: the last part of an absolute path, and six digits of `key` (default: the path)."""
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1].lower()
    slug = re.sub(r"[^a-z0-9]+", "-", last).strip("-")[:_NAME_LENGTH] or "data"
    return f"{slug}-{digest.of_bytes((key or path).encode())[:6]}"
