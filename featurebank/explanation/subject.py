"""What is explained: a run with its fitted head or model, and the map that its head sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from featurebank.backbone.recorded import plain_tap
from featurebank.backbone.taps import CLASS_TOKEN, CLS, MAP, POOLED
from featurebank.bank import Bank
from featurebank.errors import HeadError, unknown_name
from featurebank.fitting.joined.text import is_joined
from featurebank.fitting.scoring import align
from featurebank.grafting.trunk import taps_of
from featurebank.runs.finetuned import is_finetuned, predict_batch
from featurebank.runs.probabilities import load_fitted
from featurebank.runs.run import RunRecord
from featurebank.system.progress import SILENT, Reporter

_ROWS_RANK, _MAP_RANK = 2, 3
_POOLINGS = ("avg", "max")


@dataclass(frozen=True)
class Subject:
    """A run to explain, with everything that its explanations need to know."""

    bank: Bank
    run: RunRecord
    fitted: Any
    """The fitted head; of a fine-tune, its Keras model."""

    @classmethod
    def of(cls, bank: Bank, run: RunRecord, *, reporter: Reporter = SILENT) -> Subject:
        """Loads the head or the model of a run.

        Raises:
            HeadError: the run failed, was trained on a fold, or belongs to another bank or to another state of it; or
                its tap needs several networks or columns.
        """
        if not is_finetuned(run):
            taps_of(bank, run.tap, run.joined)
        return cls(bank, run, load_fitted(bank, run, reporter=reporter))

    @property
    def is_finetune(self) -> bool:
        """Whether `fitted` is a model of images, not a head on features."""
        return is_finetuned(self.run)

    @property
    def is_joined(self) -> bool:
        """Whether the head sees several taps side by side."""
        return is_joined(self.run.tap, self.bank.taps)

    @property
    def pooling(self) -> str | None:
        """How the features of the head follow from the map: "avg", "max", or None if they are the map itself."""
        if self.is_joined:
            return None
        step = plain_tap(self.bank.recipe, self.run.tap).step
        return step if step in _POOLINGS else None

    @cached_property
    def map_tap(self) -> str | None:
        """The tap of the map that the head sees; None if its features are not a map, nor the average or maximum of one.

        "pooled" is no average in networks that normalise the average of the map, nor where a class token is pooled.
        """
        if self.is_finetune or self.is_joined:
            return None
        source, step = plain_tap(self.bank.recipe, self.run.tap)
        if step in _POOLINGS:
            # Of a transformer, a layer may give tokens, whose map is another tap.
            return f"{source}:map" if self.bank.recipe.get("pooling") and source != MAP else source
        is_map = len(self.bank.tap_shape(self.run.tap)) == _MAP_RANK
        return (source if step is None else self.run.tap) if is_map else None

    @property
    def lack_of_places(self) -> str:
        """Why the features of a transformer belong to no places of the image; empty if they do."""
        if self.is_finetune or self.is_joined:
            return ""
        source, step = plain_tap(self.bank.recipe, self.run.tap)
        pooling = self.bank.recipe.get("pooling", "")
        features = f"the features of tap '{self.run.tap}' are"
        if source == CLS or step == "cls" or (source == POOLED and pooling == CLASS_TOKEN):
            return f"{features} the class token, which no places of the image add up to"
        if source == POOLED and pooling:
            return f"{features} pooled otherwise than by the mean of patches ({pooling})"
        is_rows = len(self.bank.tap_shape(self.run.tap)) == _ROWS_RANK
        return f"{features} tokens, not a map: train the head on 'map' or 'LAYER:map'" if is_rows else ""

    @cached_property
    def places(self) -> np.ndarray:
        """(classes,) the place of each class of the bank among those that the head knows; -1 for unknown classes."""
        if self.is_finetune:
            from featurebank.runs.finetuned import class_places

            return class_places(self.fitted)
        places = np.full(len(self.bank.classes), -1, np.int32)
        places[self.fitted.classes_] = np.arange(len(self.fitted.classes_))
        return places

    def class_index(self, name: str) -> int:
        """Returns the index of a class in `bank.classes`.

        Raises:
            UnknownNameError: there is no such class.
            HeadError: it had no training images, so the head has no score for it.
        """
        if name not in self.bank.classes:
            raise unknown_name("class", name, self.bank.classes)
        index = self.bank.classes.index(name)
        if self.places[index] < 0:
            message = f"class '{name}' has no training images, so run {self.run.run} cannot predict it: choose another"
            raise HeadError(message)
        return index

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """Returns probabilities (n, classes) float64 in the order of `bank.classes`.

        Args:
            rows: (n, ...) features of the run's tap; for a fine-tune, images (n, s, s, 3) uint8.
        """
        if self.is_finetune:
            return predict_batch(self.fitted, rows)
        return align(self.fitted.predict_proba(rows), self.fitted.classes_, len(self.bank.classes))
