"""What heads on the same training images share if these stay in the bank: the counterparts of `Shared` and `Gram`.

Most heads need only sums over the images (`moments`), which one pass gives to all heads of a grid. So 20 penalties of
ridge regression read the features once.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, cast

import numpy as np

from featurebank.heads.exact.gram import Gram, Once, constant_as_one
from featurebank.heads.exact.moments import Labels, Moments, moments
from featurebank.heads.exact.shared import Shared
from featurebank.heads.exact.transforms import Steps
from featurebank.heads.inputs import check_labels
from featurebank.heads.streamed.labels import encoded
from featurebank.heads.streamed.passes import Passes
from featurebank.heads.streamed.vectors import StoredVectors
from featurebank.training.class_weights import ClassWeight, weights_of_classes


class StreamedShared(Shared):
    """Training images that stay in the bank, with a cache of results computed from them; see `Shared`.

    Args:
        vectors: the features.
        y: (n,) integer labels.
        weights: (n,) float64 above 0 of the images; None for 1 each.

    Raises:
        HeadInputError: vectors and y have different lengths, or all labels are equal.
    """

    def __init__(
        self, vectors: StoredVectors, y: np.ndarray, weights: np.ndarray | None = None, passes: Passes | None = None
    ) -> None:
        super().__init__(cast("Any", vectors), y, weights)
        self.passes = passes or Passes(vectors)

    def _checked(self, X: Any, y: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        check_labels(y, len(X))
        return X, y, *encoded(y)

    @property
    def loaded(self) -> int:
        """The number of images whose features are in memory at a time."""
        return min(len(self.y), self.passes.rows())

    @property
    def nbytes(self) -> int:
        """The bytes of the features that are in memory at a time."""
        return self.loaded * self.passes.vectors.row_bytes

    @property
    def labels(self) -> Labels:
        """The classes and weights of the images."""
        return Labels(self.positions, self.counts, self.weights)

    def weighted(self, class_weight: ClassWeight) -> Shared:
        """Returns the same images, with weights that are multiplied by those of their classes; itself without any."""
        if class_weight is None:
            return self
        factors = weights_of_classes(class_weight, self.counts, self.classes.tolist())

        def make() -> StreamedShared:
            weights = factors[self.positions] if self.weights is None else factors[self.positions] * self.weights
            return StreamedShared(self.passes.vectors, self.y, weights, self.passes)

        return self.once(("weighted", factors.tobytes()), make)

    def moments(self, steps: Steps, *, products: bool) -> Moments:
        """Returns the sums of the images after the steps by row; with products, if these are known already."""
        key = ("moments", steps.by_row)
        if products or self.knows(key):
            return self.once(key, lambda: moments(self.passes, steps, self.labels, products=True))
        return self.once(("sums", steps.by_row), lambda: moments(self.passes, steps, self.labels, products=False))

    def own_gram(self, steps: Steps, once: Once) -> Gram:
        """Returns the Gram matrix of these images."""
        return StreamedGram(self, steps, once)


class StreamedGram(Gram):
    """The Gram matrix of images that stay in the bank; `Gram` has the same of images in memory.

    It is that of the features, also where there are fewer images than features.

    Args:
        shared: the images.
        steps: what is done to them before.
        once: caches results.
    """

    def __init__(self, shared: StreamedShared, steps: Steps, once: Once) -> None:
        self._shared, self._steps, self._once = shared, steps, once
        (self.n, self.d), self.of_images = shared.passes.vectors.shape, False
        self.nbytes, self.total = shared.nbytes, shared.total
        self.roots = None if shared.weights is None else np.sqrt(shared.weights)
        self._centred = steps.by_column[-1] or steps.standardize

    @cached_property
    def mean(self) -> np.ndarray:  # type: ignore[override]  # computed when needed: the pass for `matrix` gives it, too
        """(d,) float64, which is subtracted."""
        return self._sums().mean if self._centred else np.zeros(self.d)

    @cached_property
    def scale(self) -> np.ndarray:  # type: ignore[override]
        """(d,) float64, by which the features are divided."""
        if not self._steps.standardize:
            return np.ones(self.d)
        return constant_as_one(np.sqrt(np.maximum(self._sums().squares, 0) / self.total), self.mean)

    def _sums(self, *, products: bool = False) -> Moments:
        return self._shared.moments(self._steps, products=products)

    def centred(self, rows: slice | np.ndarray) -> np.ndarray:
        """Reads some training images, centred, scaled and times the roots of their weights (m, d) float64."""
        values = (self._steps.rows(np.asarray(self._shared.passes.vectors[rows])) - self.mean) / self.scale
        return self._rooted(values, rows)

    @property
    def energy(self) -> float:
        """The sum of the squares of the centred features."""
        sums = self._sums()
        squares = sums.squares if self._centred else sums.squares + self.total * sums.mean**2
        return float((squares / self.scale**2).sum())

    def class_sums(self, positions: np.ndarray, classes: int) -> np.ndarray:
        """Returns the weighted sums of the centred features over the images of each class, (d, classes)."""
        sums = self._sums()
        own = sums.class_sums if self._centred else sums.class_sums + np.outer(sums.mean, sums.counts)
        return np.asarray(own / self.scale[:, None])

    def _inner(self) -> np.ndarray:
        sums = self._sums(products=True)
        assert sums.products is not None
        own = sums.products if self._centred else sums.products + self.total * np.outer(sums.mean, sums.mean)
        return np.asarray(own / np.outer(self.scale, self.scale))
