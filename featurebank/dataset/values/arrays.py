"""Arrays of images with labels as a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.fingerprint import Pixels
from featurebank.dataset.sources.arrays import Arrays, encode, images_as_bytes
from featurebank.dataset.unlabelled import ArrayList
from featurebank.errors import DatasetError
from featurebank.system import digest

SPEC = "(X, y)"
"""What messages call a pair of arrays."""
_DIGITS = 12
_MOST = 255


def from_arrays(images: Any, labels: Any, names: Sequence[str] | None = None) -> Contents:
    """Makes a dataset of images in memory; their digest is a part of its name.

    Args:
        images: (n, h, w), (n, h, w, 1) or (n, h, w, 3): uint8, other whole numbers from 0 to 255 (also as floats), or
            floats from 0 to 1; or a list of such images of different sizes.
        labels: see `class_labels`.
        names: the names of the labels 0, 1, ...; None if the labels are names, or numbers without names.

    Raises:
        DatasetError: they are not such images and labels.
    """
    if not len(images):
        message = f"{SPEC} holds no images: expected at least one of each of two classes"
        raise DatasetError(message)
    pixels, count = _pixels(images)
    raw = class_labels(labels, count)
    classes, codes = encode(SPEC, raw, names)
    ids = [pixels.digest(index) for index in range(count)]
    key = digest.of_recipe([ids, list(classes), codes.tolist()])[:_DIGITS]
    return Contents(f"arrays-{key}", SPEC, classes, tuple(map(str, range(count))), codes, pixels)


def class_labels(labels: Any, count: int) -> np.ndarray:
    """Returns labels as one array.

    Args:
        labels: (n,) or (n, 1) names or whole numbers; or (n, classes) with a single 1 in each row.
        count: the number of images.

    Returns:
        (n,) names or whole numbers.

    Raises:
        DatasetError: they are not such labels.
    """
    array = np.asarray(labels)
    if array.dtype.kind == "O" and all(isinstance(label, str) for label in array.ravel()):
        array = array.astype(np.str_)
    if array.dtype.kind == "f" and array.size and (array == np.floor(array)).all():
        array = array.astype(np.int64)  # Keras holds labels as floats
    if array.dtype.kind == "b" and array.ndim == 1:
        array = array.astype(np.str_)
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004 - a column
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "biu" and ((array == 0) | (array == 1)).all():  # noqa: PLR2004 - one-hot
        if not (array.sum(1) == 1).all():
            message = f"a row of y in {SPEC} names no class, or several: expected a single 1 in each row"
            raise DatasetError(message)
        array = array.argmax(1)
    if array.ndim != 1 or len(array) != count:
        message = f"y of {SPEC} has the shape {array.shape}: expected ({count},), one label for each image"
        raise DatasetError(message)
    if array.dtype.kind not in "iuU":
        message = f"y of {SPEC} is of type {array.dtype}: expected whole numbers or strings, the classes"
        raise DatasetError(message)
    return array


def _whole_as_bytes(array: np.ndarray) -> np.ndarray:
    """Returns floats that are whole numbers up to 255 as uint8, and other arrays unchanged.

    They are pixels without doubt, as `x_train.astype("float32")` gives them; other floats above 1 are a guess.
    """
    if array.dtype.kind != "f" or not array.size or not (array.min() >= 0 and 1 < array.max() <= _MOST):
        return array
    if any((block != np.rint(block)).any() for block in array):
        return array
    return array.astype(np.uint8)


def _pixels(images: Any) -> tuple[Pixels, int]:
    """Returns images as pixels, and their number."""
    array = np.asarray(images) if hasattr(images, "__array__") else None
    if array is not None and array.dtype != object:
        return Arrays(images_as_bytes(SPEC, "X", _whole_as_bytes(array))), len(array)
    arrays = [np.asarray(image) for image in images]
    if len({(array.shape, array.dtype) for array in arrays}) == 1:
        return _pixels(np.stack(arrays))
    return ArrayList([images_as_bytes(SPEC, "X", array[np.newaxis])[0] for array in arrays]), len(arrays)
