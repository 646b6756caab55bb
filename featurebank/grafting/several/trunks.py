"""The networks of a model side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.grafting.several.squares import Square, inputs_of


class SeveralTrunks:
    """Networks up to their taps, with one `predict`: images -> the features of all of them side by side.

    Args:
        trunks: a Keras model or an `OpenVINOTrunk` each.
        squares: the input of each.
    """

    def __init__(self, trunks: Sequence[Any], squares: Sequence[Square]) -> None:
        self.trunks, self.squares = list(trunks), list(squares)

    def predict(self, images: np.ndarray, batch_size: int = 32, verbose: Any = 0) -> np.ndarray:
        """Returns features (n, d) float32.

        Args:
            images: see `featurebank.grafting.several.squares.inputs_of`.
            batch_size: the number of images per batch.
            verbose: see Keras's `predict`.
        """
        inputs = inputs_of(images, self.squares)
        parts = [
            np.asarray(trunk.predict(part, batch_size=batch_size, verbose=verbose))
            for trunk, part in zip(self.trunks, inputs, strict=True)
        ]
        return np.concatenate(parts, axis=1)
