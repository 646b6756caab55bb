"""Which images an extraction reads, in which order, and the inputs of the networks that it makes of each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from featurebank.augment import Augmentation, augment
from featurebank.backbone import Backbone
from featurebank.bank.index import Finder
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.levels import Levels
from featurebank.engine.feed import Prepared
from featurebank.errors import BadImageError
from featurebank.extraction.plan import ExtractionJob


class Lane(NamedTuple):
    """What a batch is computed for: the number of a bank, and the taps to compute. An engine serves one lane."""

    bank: int
    taps: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """The order in which a pass reads images, and the jobs of each: an image is decoded once for all its jobs."""

    jobs: Sequence[ExtractionJob]
    indices: np.ndarray
    """(m,) int64: positions in the dataset, in the order of reading. Of duplicates, only the first is read."""
    place: np.ndarray
    """(n,) int64: the position of each image of the dataset in this order; -1 if the pass does not read it."""
    numbers: np.ndarray
    """The numbers of the jobs of each image, image after image."""
    offsets: np.ndarray
    """(m + 1,): the jobs of the image at place i are `numbers[offsets[i]:offsets[i + 1]]`, as in a CSR matrix."""

    @classmethod
    def plan(cls, digests: np.ndarray, jobs: Sequence[ExtractionJob]) -> Self:
        """Plans a pass that computes all jobs, in the order of the digests.

        Args:
            digests: the content digest of each image of the dataset, (n,) "S32".
            jobs: the jobs; each of their digests is one of these.
        """
        requested = np.concatenate([np.empty(0, "S32"), *(job.digests for job in jobs)])
        numbers = np.repeat(np.arange(len(jobs)), [len(job.digests) for job in jobs])
        distinct, which = np.unique(requested, return_inverse=True)
        order = np.argsort(which, kind="stable")
        offsets = np.searchsorted(which[order], np.arange(len(distinct) + 1))
        indices, place = Finder(digests).find(distinct), np.full(len(digests), -1, np.int64)
        place[indices] = np.arange(len(indices))
        return cls(jobs, indices, place, numbers[order], offsets)

    def jobs_of(self, index: int) -> list[ExtractionJob]:
        """Returns the jobs of one image, by its position in the dataset."""
        place = self.place[index]
        return [self.jobs[number] for number in self.numbers[self.offsets[place] : self.offsets[place + 1]].tolist()]


@dataclass(frozen=True)
class Inputs:
    """Makes the inputs of the networks from the images of a dataset; threads may share it."""

    dataset: Dataset
    backbones: Sequence[Backbone]
    """The network of each bank, by the number of the bank."""
    augmentation: Augmentation | None

    def prepare(self, index: int, jobs: Sequence[ExtractionJob]) -> Prepared[Lane]:
        """Decodes an image and returns the input of each of its jobs.

        Raises:
            BadImageError: the image cannot be decoded.
        """
        decoded: dict[Levels | None, np.ndarray] = {}
        resized: dict[tuple[int, str, Levels | None], np.ndarray] = {}
        inputs = []
        for job in jobs:
            backbone = self.backbones[job.bank]
            key = backbone.image_size, backbone.resize_rule, backbone.levels
            if key not in resized:
                if backbone.levels not in decoded:
                    decoded[backbone.levels] = decode_any(self.dataset, index, backbone.levels)
                resized[key] = backbone.resize(decoded[backbone.levels])
            inputs.append((Lane(job.bank, job.taps), job.view, self._view(resized[key], index, job.view)))
        return inputs

    def _view(self, image: np.ndarray, index: int, view: int) -> np.ndarray:
        """Returns the augmented image; view 0 is the image itself."""
        if view == 0:
            return image
        assert self.augmentation, "the recipe of a bank with views, and so its options, have an augmentation"
        digests = self.dataset.digests[index : index + 1]
        return np.squeeze(augment(image[np.newaxis], self.augmentation, digests, view), axis=0)


def decode_any(dataset: Dataset, index: int, levels: Levels | None) -> np.ndarray:
    """Decodes an image; if its file was deleted or changed meanwhile, decodes a duplicate.

    Args:
        dataset: the dataset.
        index: the position of the image.
        levels: see `Dataset.image`.

    Raises:
        BadImageError: neither the image nor a duplicate can be decoded.
    """
    try:
        return dataset.image(index, levels)
    except BadImageError:
        for other in np.flatnonzero(dataset.digests == dataset.digests[index]).tolist():
            if other != index:
                with contextlib.suppress(BadImageError):
                    return dataset.image(other, levels)
        raise
