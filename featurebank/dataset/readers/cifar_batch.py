"""Reads the pickled batches of CIFAR without trusting them: no name in the pickle is ever looked up in Python."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

_SIDE = 32
_TYPES = {"u1", "i1", "i4", "i8"}

_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR_100_CLASSES = tuple(_NAMES.split())
"""The fine labels of CIFAR-100, in the order of their numbers."""


def read_batch(data: bytes, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch of CIFAR.

    Args:
        data: the file: a pickled dict of `data`, (n, 3072) uint8 in the order channel, row, column, and labels.
        label_key: the key of the labels, "labels" or "fine_labels".

    Returns:
        (n, 32, 32, 3) uint8 and (n,) int64.

    Raises:
        ValueError: the file is not such a batch.
        pickle.UnpicklingError: the pickle is damaged, or names something that a batch does not need.
    """
    content = _load(data)
    if not isinstance(content, dict):
        message = f"expected a dict, got a {type(content).__name__}"
        raise ValueError(message)
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    for key in ("data", label_key):
        if key not in fields:
            message = f"expected the key '{key}'"
            raise ValueError(message)
    pixels = _array(fields["data"])
    labels = _array(fields[label_key]).astype(np.int64)
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * _SIDE * _SIDE):
        message = f"data is {pixels.dtype} of shape {pixels.shape}: expected uint8 ({len(labels)}, 3072)"
        raise ValueError(message)
    images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


class _Type:
    """Replaces numpy.dtype."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        self.order = order.decode("latin1") if isinstance(order, bytes) else order


class _Parts:
    """Replaces numpy.ndarray: stores the pickle's values, which are checked before numpy sees them."""

    def __init__(self, *_: Any) -> None:
        self.shape: Any = None
        self.type: Any = None
        self.fortran: Any = None
        self.data: Any = None

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, self.fortran, self.data = state


def _frombuffer(data: Any, type_: Any, shape: Any, order: Any) -> _Parts:
    """Replaces numpy's function of this name, which newer pickles use."""
    parts = _Parts()
    parts.__setstate__((1, shape, type_, order != "C", data))
    return parts


def _latin1(text: Any, *_: Any) -> bytes:
    """Replaces codecs.encode, with which old pickles of Python 3 store bytes."""
    return str(text).encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Type,
    ("numpy", "ndarray"): _Parts,
    ("_codecs", "encode"): _latin1,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Parts for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            message = f"the pickle names {module}.{name}, which a batch of CIFAR does not need"
            raise pickle.UnpicklingError(message) from None


def _load(data: bytes) -> Any:
    try:
        return _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # pickle raises many types on hostile bytes
        message = f"damaged pickle: {error}"
        raise pickle.UnpicklingError(message) from error


def _array(value: Any) -> np.ndarray:
    if isinstance(value, list):
        if not all(type(item) is int and 0 <= item < 1 << 31 for item in value):
            message = "expected a list of whole numbers"
            raise ValueError(message)
        return np.array(value, np.int64)
    if not isinstance(value, _Parts) or not isinstance(value.type, _Type) or value.type.code not in _TYPES:
        message = "expected an array of whole numbers"
        raise ValueError(message)
    if (
        value.fortran is not False
        or value.type.order not in {"|", "<"}
        or not isinstance(value.data, bytes | bytearray)
    ):
        message = "expected a plain array in C order"
        raise ValueError(message)
    if not isinstance(value.shape, tuple) or not all(type(side) is int and side >= 0 for side in value.shape):
        message = "expected a plain shape"
        raise ValueError(message)
    return np.frombuffer(value.data, "<" + value.type.code).reshape(value.shape)
