"""Parts of the training images: each contains the one before, and validation and test images are in none."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from featurebank.bank.catalog import RACED
from featurebank.dataset import Dataset
from featurebank.dataset.splits import TRAIN
from featurebank.dataset.subset import SelectedPixels, numbers


class PartDataset(Dataset):
    """A part of a dataset; it has no warnings of its own, because those of the whole are shown."""

    def warnings(self, *, files: bool = True) -> list[str]:
        """Returns nothing: a part has no validation images, and perhaps not all classes."""
        return []


@dataclasses.dataclass
class Parts:
    """The training images of a dataset in the order in which parts take them.

    Args:
        dataset: the whole dataset, with its digests.
    """

    dataset: Dataset

    def __post_init__(self) -> None:
        usable = np.flatnonzero((self.dataset.splits == TRAIN) & (self.dataset.digests != b""))
        hashes = numbers([self.dataset.ids[position] for position in usable])
        self._order = usable[np.argsort(hashes, kind="stable")]

    def __len__(self) -> int:
        """Returns the number of training images."""
        return len(self._order)

    def classes(self, count: int) -> int:
        """Returns how many classes the first images have."""
        return len(np.unique(self.dataset.labels[self._order[:count]]))

    def part(self, count: int) -> Dataset:
        """Returns the first images as a dataset whose bank holds all parts of a race."""
        positions, whole = np.sort(self._order[:count]), self.dataset.contents
        columns: dict[str, Any] = {
            field.name: value[positions]
            for field in dataclasses.fields(whole)
            if isinstance(value := getattr(whole, field.name), np.ndarray) and len(value) == len(whole.ids)
        }
        contents = dataclasses.replace(
            whole, **columns, name=whole.name + RACED, ids=tuple(whole.ids[position] for position in positions),
            pixels=SelectedPixels(whole.pixels, positions), notes=(), metadata={},
        )  # fmt: skip
        contents = dataclasses.replace(contents, predefined=np.full(len(positions), TRAIN, np.int8))
        part = PartDataset(contents, self.dataset.fractions, self.dataset.seed)
        part.know_digests(self.dataset.digests[positions])
        return part
