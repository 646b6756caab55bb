"""Pickles the results of heads without the training features that they hold, which the receiver has as well.

A head of k nearest neighbours keeps the training features themselves. 30 of them on 100,000 images would send 24 GB
from the processes that fit them.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from featurebank.fitting.data import TrainingData

_FEATURES = "training features"
"""What a pickle holds in place of the features."""


def to_bytes(value: Any, data: TrainingData) -> bytes:
    """Pickles a value; the training features in it are replaced by a mark.

    Args:
        value: results of heads.
        data: the data that the heads were fitted on.
    """
    features = data.shared.X

    class Pickler(_pickler()):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> str | None:
            return _FEATURES if isinstance(obj, np.ndarray) and _is_same(obj, features) else None

    file = io.BytesIO()
    Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


def _pickler() -> Any:
    """Returns the class of joblib's own pickler, which also takes classes that a user defined in a notebook."""
    try:
        from cloudpickle import Pickler
    except ImportError:  # before joblib 1.6, which contained it
        from joblib.externals.cloudpickle import Pickler
    return Pickler


def from_bytes(content: bytes, data: TrainingData) -> Any:
    """Unpickles what `to_bytes` returned in another process.

    Args:
        content: the bytes.
        data: the same data as there.
    """

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            assert pid == _FEATURES
            return data.shared.X

    return Unpickler(io.BytesIO(content)).load()


def _is_same(one: np.ndarray, other: Any) -> bool:
    """Returns whether two arrays are the same memory, seen in the same way; features in the bank are no array."""
    return isinstance(other, np.ndarray) and one.size > 0 and one.__array_interface__ == other.__array_interface__
