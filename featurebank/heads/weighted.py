"""The heads that can weight images: `sample_weight`."""

from __future__ import annotations

from typing import Any, Self

from featurebank.heads.base import Head


class WeightedHead(Head):
    """The base class of heads that can weight images."""

    def fit(self, X: Any, y: Any, validation_data: tuple[Any, Any] | None = None, sample_weight: Any = None) -> Self:
        """Fits the head by itself; see `Head.fit`.

        Args:
            X: (n, ...) features: an array, a list or a table.
            y: (n,) labels.
            validation_data: features and labels for early stopping or calibration; most heads ignore them.
            sample_weight: (n,) weights of the images, at least 0; None for 1 each. An image of weight 2 counts as much
                as two copies of it.
        """
        return self._fit_checked(X, y, validation_data, sample_weight)
