"""Datasets of Keras and of tf.data as a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.values.arrays import from_arrays
from featurebank.dataset.values.files import from_files
from featurebank.errors import DatasetError, RamLimitError
from featurebank.system.runtime import ram_limit

_IMAGE_AXES = 3
_CHANNELS = (1, 3)
_MOST = 255
_PAIR = 2
_EXPECTED = "expected pairs of images and labels, as from keras.utils.image_dataset_from_directory"


def is_batches(value: Any) -> bool:
    """Returns whether a value is a dataset of tf.data, or one of Keras (`PyDataset`)."""
    return hasattr(value, "element_spec") or any(kind.__name__ == "PyDataset" for kind in type(value).__mro__)


def from_batches(value: Any) -> Contents:
    """Makes a dataset of a dataset of Keras or tf.data.

    The files are read themselves where Keras names them (`file_paths`, `class_names`), in their own size. Otherwise the
    images are read once and kept in memory: uint8, or floats from 0 to 255 or from 0 to 1.

    Args:
        value: yields (images, labels), single or in batches; labels are whole numbers or one-hot.

    Raises:
        DatasetError: it yields something else, or is without end.
        RamLimitError: its images do not fit into memory.
    """
    names = [str(name) for name in getattr(value, "class_names", None) or ()]
    paths = list(getattr(value, "file_paths", None) or ())
    if paths and names and (folders := _class_folders(paths, names)):
        return from_files(paths, folders)
    images, labels = _read(value)
    return from_arrays(images, labels, names or None)


def _class_folders(paths: Sequence[str], names: Sequence[str]) -> list[str] | None:
    """Returns the class of each file: its folder below the common root; None if the folders are not the classes."""
    root = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120 - strings, for a million paths
    folders = [os.path.relpath(path, root).partition(os.sep)[0] for path in paths]
    return folders if set(folders) <= set(names) else None


def _read(value: Any) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns all images, (h, w, 3) each, and all labels."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    size, is_wide = 0, False
    for image, label in _pairs(value):
        if not is_wide and _is_wide(image):  # one bright image tells the range of all
            is_wide, images = True, list(map(_as_bytes, images))
        images.append(_as_bytes(image) if is_wide else image)
        labels.append(label)
        size += images[-1].nbytes
        if size > ram_limit():
            message = (
                f"the images need more than the {ram_limit() / 1e9:.2f} GB that --ram allows: name the folder of the "
                "images instead, whose files are read when they are needed"
            )
            raise RamLimitError(message)
    if not images:
        message = f"the dataset holds no images: {_EXPECTED}"
        raise DatasetError(message)
    return images, np.stack(labels)


def _pairs(value: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each image with its label."""
    if getattr(value, "element_spec", None) is not None and int(value.cardinality()) == -1:  # tf.data.INFINITE
        message = "the dataset repeats without end: leave out its repeat()"
        raise DatasetError(message)
    for element in value if hasattr(value, "element_spec") else (value[index] for index in range(len(value))):
        if not isinstance(element, tuple | list) or len(element) < _PAIR:
            message = f"the dataset yields {type(element).__name__}: {_EXPECTED}"
            raise DatasetError(message)
        images, labels = np.asarray(element[0]), np.asarray(element[1])
        if images.ndim == _IMAGE_AXES and images.shape[-1] in _CHANNELS:
            yield images, labels
        else:
            yield from zip(images, labels, strict=True)


def _is_wide(image: np.ndarray) -> bool:
    """Returns whether an image shows that the floats of its dataset go from 0 to 255, as Keras has them."""
    return image.dtype.kind == "f" and bool(image.size) and 1 < image.max() <= _MOST


def _as_bytes(image: np.ndarray) -> np.ndarray:
    return np.rint(image).astype(np.uint8) if image.dtype.kind == "f" and image.min() >= 0 else image
