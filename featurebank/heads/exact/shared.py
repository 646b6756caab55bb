"""A cache of what heads on the same training images share: checked features, Gram matrices, kernels, and so on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from featurebank.heads.inputs import checked_features
from featurebank.training.class_weights import ClassWeight, weights_of_classes

_T = TypeVar("_T")


class Shared:
    """The training images of several heads, with a cache of results computed from them; thread-safe.

    Args:
        X: (n, ...) features; maps are flattened.
        y: (n,) labels.
        weights: (n,) float64 above 0 of the images; None for 1 each.

    Raises:
        HeadInputError: the features are not finite, X and y have different lengths, or all labels are equal.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.X, self.y, self.classes, self.positions = self._checked(X, np.asarray(y))
        """Features (n, d) float32; labels (n,); the distinct labels, sorted; for each image, the index of its label
        among them, (n,)."""
        self.weights = weights
        self.counts = np.bincount(self.positions, weights)
        """(classes,) the number of images of each class, or the sum of their weights."""
        self.total = len(self.y) if weights is None else float(weights.sum())
        """The number of images, or the sum of their weights."""
        self._known: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def _checked(self, X: Any, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Checks features and labels; returns them with the distinct labels and the indices among these."""
        return checked_features(X, y), y, *np.unique(y, return_inverse=True)

    @property
    def loaded(self) -> int:
        """The number of images whose features are in memory at a time: all of them."""
        return len(self.X)

    @property
    def nbytes(self) -> int:
        """The bytes of the features that are in memory at a time."""
        return self.X.nbytes

    def own_gram(self, steps: Any, once: Callable[[str, Callable[[], Any]], Any]) -> Any | None:
        """Returns the Gram matrix of images that stay in the bank; None for images in memory, see `gram`."""
        return None

    def knows(self, key: Hashable) -> bool:
        """Returns whether the result of a key is cached."""
        with self._lock:
            return key in self._known

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Returns the cached result of a key; the first caller computes it, and other threads wait for it.

        Args:
            key: the name of the result, with all parameters that it depends on.
            make: computes the result. If it raises an error, the next caller tries again.
        """
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key in self._known:
                value: _T = self._known[key]
            else:
                value = self._known[key] = make()
        return value

    def weighted(self, class_weight: ClassWeight) -> Shared:
        """Returns the same images, with weights that are multiplied by those of their classes; itself without any.

        Raises:
            HeadInputError: `class_weight` does not fit the classes.
        """
        if class_weight is None:
            return self
        factors = weights_of_classes(class_weight, self.counts, self.classes.tolist())[self.positions]
        weights = factors if self.weights is None else factors * self.weights
        return self.once(("weighted", weights.tobytes()), lambda: Shared(self.X, self.y, weights))

    def forget(self, *kinds: str) -> None:
        """Removes large results from the cache: those of tuple keys whose first element is one of `kinds`."""
        with self._lock:
            for key in [key for key in self._known if isinstance(key, tuple) and key[0] in kinds]:
                del self._known[key]
            inner = [value for value in self._known.values() if isinstance(value, Shared)]
        for shared in inner:
            shared.forget(*kinds)
