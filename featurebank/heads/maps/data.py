"""Maps and labels, checked, as the networks on maps are trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurebank.errors import HeadInputError
from featurebank.heads.inputs import check_labels
from featurebank.heads.maps.stored import (
    MAPS_AND_TOKENS,
    MAPS_ONLY,
    Maps,
    StandardizedMaps,
    as_maps,
    channel_statistics,
)
from featurebank.heads.streamed.labels import encoded


@dataclass
class MapData:
    """Maps and labels as the programs take them."""

    X: Maps
    y: np.ndarray
    """(n,) int32 positions in `classes`."""
    classes: np.ndarray
    validation: tuple[Maps, np.ndarray] | None
    weights: np.ndarray | None = None
    """(n,) float32 sample weights; None for 1 each."""
    _statistics: list[np.ndarray] = field(default_factory=list)

    @classmethod
    def of(
        cls, X: Any, y: np.ndarray, validation: tuple[Any, np.ndarray] | None, views: Sequence[Any] = (),
        weights: np.ndarray | None = None, *, ranks: Sequence[int] = MAPS_ONLY,
    ) -> MapData:  # fmt: skip
        """Checks maps and labels; `ranks` is as in `as_maps`.

        Raises:
            HeadInputError: features are no maps, not finite or of unequal shape, or there is only one class.
        """
        maps = as_maps(X, views, ranks=ranks)
        check_labels(y, maps.shape[0])
        classes, positions = encoded(np.asarray(y))
        known = None
        if validation is not None:
            known = _known(validation[0], np.asarray(validation[1]), classes, maps.shape[1:])
        weights = None if weights is None else weights.astype(np.float32)
        return cls(maps, positions, classes, known, weights)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (h, w, c) of a map."""
        return self.X.shape[1:]

    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns mean and scale of each channel: (c,) each."""
        if not self._statistics:
            self._statistics = list(channel_statistics(self.X, self.weights))
        return self._statistics[0], self._statistics[1]

    def maps(self, *, standardize: bool) -> tuple[Maps, Maps | None]:
        """Returns training and validation maps as the heads see them."""
        val = None if self.validation is None else self.validation[0]
        if not standardize:
            return self.X, val
        mean, scale = self.statistics()
        return StandardizedMaps(self.X, mean, scale), val and StandardizedMaps(val, mean, scale)


def _known(X: Any, y: np.ndarray, classes: np.ndarray, shape: tuple[int, ...]) -> tuple[Maps, np.ndarray] | None:
    """Keeps the validation images whose class is among the trained ones."""
    ranks = (1 + len(shape),)
    if as_maps(X, ranks=MAPS_AND_TOKENS).shape[1:] != shape:
        message = f"the validation maps are {np.shape(X)[1:]}, the training maps {shape}"
        raise HeadInputError(message)
    known = np.isin(y, classes)
    if not known.any():
        return None
    return as_maps(X if known.all() else X[known], ranks=ranks), np.searchsorted(classes, y[known]).astype(np.int32)
