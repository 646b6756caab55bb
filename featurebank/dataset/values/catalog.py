"""Recognises what a program holds as a dataset, and gives it a specification."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.grouping.components import GROUP
from featurebank.dataset.readers.metadata import strings
from featurebank.dataset.unlabelled_option import keeps_unlabelled
from featurebank.dataset.values.arrays import from_arrays
from featurebank.dataset.values.batches import from_batches, is_batches
from featurebank.dataset.values.files import from_files, from_frame
from featurebank.dataset.values.registry import register
from featurebank.errors import ConfigError, DatasetError

WORDS = (
    "the name or path of a dataset, a list of paths, a pair (X, y) of images and labels, a data frame with the columns "
    "path and label, or a dataset of Keras or tf.data"
)
_PAIR = 2


def is_dataset_value(value: Any) -> bool:
    """Returns whether a value may be a dataset; reads nothing of it."""
    return is_frame(value) or is_batches(value) or _is_pair(value) or _is_paths(value)


def spec_of_value(
    value: Any, columns: Mapping[str, str] | None = None, unlabelled: str | None = None, groups: Any = None
) -> str:
    """Returns the specification of a value, which `load_images` understands in this process.

    Args:
        value: as `is_dataset_value` accepts it.
        columns: of a data frame: the names of its columns for "path", "label", "split" and "weight".
        unlabelled: of a data frame: "keep" keeps images without a label.

        groups: (n,) the group of each image, as a column `GROUP`; None if there are none.

    Raises:
        ConfigError: `columns` is given for something else.
        DatasetError: its images, labels or paths are wrong.
    """
    if columns and not is_frame(value):
        message = "columns are given for a dataset that is not a table: leave them out"
        raise ConfigError(message)
    if keeps_unlabelled(unlabelled) and not is_frame(value):
        message = "unlabelled is given for a dataset that is neither a folder nor a table: leave it out"
        raise ConfigError(message)
    contents = _contents(value, columns, keep=keeps_unlabelled(unlabelled))
    return register(contents if groups is None else _grouped(contents, groups))


def _grouped(contents: Contents, groups: Any) -> Contents:
    """Returns contents with a group for each image as a column."""
    column = np.asarray(groups)
    if column.shape != (len(contents.ids),):
        message = f"groups has the shape {column.shape}: expected ({len(contents.ids)},), one group for each image"
        raise DatasetError(message)
    texts = ["" if value is None or value != value else str(value) for value in column.tolist()]  # noqa: PLR0124 - nan
    return dataclasses.replace(contents, metadata={**contents.metadata, GROUP: strings(texts)})


def _contents(value: Any, columns: Mapping[str, str] | None, *, keep: bool) -> Contents:
    if is_frame(value):
        return from_frame(value, columns, keep=keep)
    if is_batches(value):
        return from_batches(value)
    if not _is_pair(value):
        return from_files([str(path) for path in value])
    images, labels = value
    if _is_paths(images):
        return from_files([str(path) for path in images], labels)
    if not hasattr(images, "__len__"):
        message = f"X of (X, y) is of type {type(images).__name__}: expected images as arrays, or paths of images"
        raise DatasetError(message)
    return from_arrays(images, labels)


def is_frame(value: Any) -> bool:
    """Returns whether a value is a data frame of pandas or polars."""
    return hasattr(value, "columns") and hasattr(value, "to_numpy") and not isinstance(value, type)


def _is_pair(value: Any) -> bool:
    """Returns whether a value is a pair (X, y) and not two paths."""
    return (
        isinstance(value, tuple)
        and len(value) == _PAIR
        and not any(isinstance(part, str | os.PathLike) for part in value)
    )


def _is_paths(value: Any) -> bool:
    """Returns whether a value is a list, an array or a column of paths, and not empty."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and len(value) > 0 and value.dtype.kind in "OU" and _is_path(value[0])
    if isinstance(value, list | tuple):
        return len(value) > 0 and all(map(_is_path, value))
    is_column = hasattr(value, "to_numpy") and not is_frame(value) and not isinstance(value, type)
    return is_column and _is_paths(np.asarray(value.to_numpy()))


def _is_path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike)
