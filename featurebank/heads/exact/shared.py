"""A cache of what heads on the same training images share: checked features, Gram matrices, kernels, and so on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from featurebank.heads.inputs import checked_features

_T = TypeVar("_T")


class Shared:
    """The training images of several heads, with a cache of results computed from them; thread-safe.

    Args:
        X: (n, ...) features; maps are flattened.
        y: (n,) labels.

    Raises:
        HeadError: the features are not finite, X and y have different lengths, or all labels are equal.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X = checked_features(X, y)
        """(n, d) float32."""
        self.y = np.asarray(y)
        self.classes, self.positions = np.unique(self.y, return_inverse=True)
        """The distinct labels, sorted; and for each image, the index of its label among them, (n,)."""
        self._known: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

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

    def forget(self, *kinds: str) -> None:
        """Removes large results from the cache: those of tuple keys whose first element is one of `kinds`."""
        with self._lock:
            for key in [key for key in self._known if isinstance(key, tuple) and key[0] in kinds]:
                del self._known[key]
