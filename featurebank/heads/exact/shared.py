"""What heads on the same training images compute once: checks, Gram matrices, kernels, quantised features."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from featurebank.heads.inputs import checked_features

_T = TypeVar("_T")


class Shared:
    """Training images, and what was computed from them so far; safe to use from several threads.

    Args:
        X: (n, ...) features; maps are flattened.
        y: (n,) labels.

    Raises:
        HeadError: the features are not finite, there is not one label for each, or there is one class only.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray) -> None:
        self.X = checked_features(X, y)
        """(n, d) float32."""
        self.y = np.asarray(y)
        self.classes, self.positions = np.unique(self.y, return_inverse=True)
        """The labels that occur, sorted, and the place of each image's label among them (n,)."""
        self._known: dict[Hashable, Any] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def once(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Returns what `make` returned when it was called for this key first; others wait for that.

        Args:
            key: names the result, with every parameter that it depends on.
            make: computes it. Where it raises, the next caller tries again.
        """
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key in self._known:
                found: _T = self._known[key]
            else:
                found = self._known[key] = make()
        return found

    def forget(self, *kinds: str) -> None:
        """Lets go of what is too large to keep for heads that may never come: of the keys that begin with these."""
        with self._lock:
            for key in [key for key in self._known if isinstance(key, tuple) and key[0] in kinds]:
                del self._known[key]
