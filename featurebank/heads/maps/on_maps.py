"""What all heads on maps share, whatever computes their logits: what they are trained on, and how they answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.inputs import TrainingRows, check_fitted, maps_to_fit, plain_maps
from featurebank.heads.maps.stored import MAPS_ONLY, as_maps, blocks, in_order
from featurebank.heads.needs import MAPS
from featurebank.heads.trained import TrainedHead
from featurebank.training.activations import softmax

ROWS = 64
"""Maps that are answered at a time: the patches of a 3x3 kernel are nine times as large as they."""


@dataclass(kw_only=True, eq=False, repr=False)
class HeadOnMaps(TrainedHead):
    """Base of all heads on maps (n, h, w, c); a subclass has `_logits`, `train_heads` and `set_fitted`."""

    ranks: ClassVar[tuple[int, ...]] = MAPS_ONLY
    """The ranks of the arrays that it takes; see `as_maps`."""

    needs = MAPS
    saved_as = "on_maps"

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Returns whether a fitted head can predict for maps of the shape (h, w, c)."""
        return shape == self.map_shape_

    def _logits(self, X: np.ndarray) -> np.ndarray:
        """Returns logits (b, classes) of maps (b, h, w, c)."""
        raise NotImplementedError

    def checked_shape(self, X: Any) -> tuple[int, ...]:
        """Returns the shape (n, h, w, c) of maps to train on.

        Raises:
            HeadError: the features are no maps, or not finite.
        """
        return as_maps(X, ranks=self.ranks).shape

    def _training_rows(self, X: Any, y: Any, sample_weight: Any) -> TrainingRows:
        return maps_to_fit(self, X, y, sample_weight)

    def _validation_inputs(self, X: Any) -> Any:
        return plain_maps(self, X)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns probabilities (n, classes) float32, in the order of `classes_`.

        Args:
            X: (n, h, w, c) features, or maps in a bank.
        """
        maps = self._maps(X)
        probabilities = [softmax(self._logits(block)) for block in blocks(maps, in_order(maps, ROWS))]
        return np.concatenate(probabilities) if probabilities else np.empty((0, len(self.classes_)), np.float32)

    def trial_shape(self) -> tuple[int, ...]:
        """Returns the shape of the maps that it was trained on; see `Head.trial_shape`."""
        return self.map_shape_

    def _maps(self, X: Any) -> Any:
        check_fitted(self)
        maps = as_maps(plain_maps(self, X), ranks=self.ranks)
        if not self.fits(maps.shape[1:]):
            raise wrong_shape(self, maps.shape[1:], self.map_shape_)
        return maps

    def _set_shape(self, shape: tuple[int, ...]) -> None:
        self.map_shape_ = tuple(map(int, shape))
        self.n_features_in_ = int(np.prod(shape))


def wrong_shape(head: Any, shape: tuple[int, ...], expected: tuple[int, ...]) -> HeadInputError:
    """Returns the error for maps of another shape; it begins as scikit-learn's for another number of features."""
    return HeadInputError(
        f"X has {math.prod(shape)} features, but {type(head).__name__} is expecting {math.prod(expected)} features as "
        f"input: the maps are {times(shape)}, the head was trained on {times(expected)}"
    )


def times(shape: tuple[int, ...]) -> str:
    """Returns a shape as people write it."""
    return " x ".join(map(str, shape))
