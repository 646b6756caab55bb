"""What a model file stores of the images that the model has seen, and how it is gathered from the bank of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.fitting.weights import training_images
from featurebank.grafting.seen.sketch import Sketch
from featurebank.runs.run import RunRecord, belongs


class Origin(IntEnum):
    """Where a model has seen an image."""

    UNKNOWN = -1
    """The sketches do not say."""
    TRAINING = 0
    VALIDATION = 1
    UNSEEN = 2


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Sketches of the images that a model was trained on, and of those that it was chosen by."""

    training: Sketch
    validation: Sketch

    def origins(self, words: np.ndarray) -> np.ndarray:
        """Returns the `Origin` of images, (n,) int64, by the first 64 bits of their digests, (n,) uint64.

        An image of both sets is a training image. Those that both sketches know are a random sample of all images.
        """
        seen = np.where(self.validation.contains(words), Origin.VALIDATION, Origin.UNSEEN)
        origins = np.where(self.training.contains(words), Origin.TRAINING, seen)
        known = words <= min(self.training.limit, self.validation.limit)
        return np.where(known, origins, Origin.UNKNOWN)

    def to_json(self) -> dict[str, Any]:
        """Returns the record as JSON values."""
        return {"training": self.training.to_json(), "validation": self.validation.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Reads what `to_json` returned; a stranger may have written it.

        Raises:
            ValueError, KeyError, TypeError: it is damaged.
        """
        return cls(Sketch.from_json(value["training"]), Sketch.from_json(value["validation"]))


def seen_by(bank: Bank, run: RunRecord) -> SeenImages | None:
    """Returns the images that the model of a run has seen; None if the bank has changed since the run.

    Args:
        bank: the bank of the run.
        run: the run, which is not one of a fold.
    """
    if not belongs(run, bank):
        return None
    digests, train = bank.digests(), training_images(bank, positions_in(bank, "train"), run.sample).positions
    return SeenImages(Sketch.of(digests[train]), Sketch.of(digests[positions_in(bank, "val")]))
