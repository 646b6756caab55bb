"""What a run predicts for: rows of a bank, or images in any usual form."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from featurebank.bank import Bank
from featurebank.dataset import Dataset
from featurebank.dataset.unlabelled import expand_folders, unlabelled_images, without_labels
from featurebank.dataset.values.catalog import is_frame
from featurebank.errors import ConfigError, DatasetError
from featurebank.extraction.unlabelled_features import features_like, unlabelled_name
from featurebank.fitting.joined.images import joined_features
from featurebank.runs.run import RunRecord
from featurebank.system.progress import Reporter

_IMAGE_DIMENSIONS = 3


def as_features(x: Any, shape: tuple[int, ...], tap: str) -> np.ndarray | None:
    """Returns features as an array, or None if the argument stands for images.

    Args:
        x: the argument of `Run.predict`.
        shape: the shape of one image's features.
        tap: the tap of the features, for messages.

    Returns:
        (n, ...) float32, or None.

    Raises:
        ConfigError: it is a bank, not the features of one.
        DatasetError: it is an array of numbers that has neither the shape of features nor that of images.
    """
    if isinstance(x, Bank):
        message = f"the argument is {x!r}: pass its features, as bank.features('{tap}', 'val'), or images"
        raise ConfigError(message)
    if _are_paths_or_images(x):
        return None
    try:
        array = np.asarray(x)
    except ValueError:  # a list of different things, which is checked as a list of images
        return None
    if not array.size or array.dtype.kind in "OUS" or (array.dtype == np.uint8 and array.ndim >= _IMAGE_DIMENSIONS):
        return None
    if array.shape[1:] in {shape, (math.prod(shape),)} and array.ndim > 1:
        return array.astype(np.float32)
    expected = ", ".join(map(str, shape))
    message = (
        f"the argument has the shape {array.shape} and the type {array.dtype}: expected features of tap '{tap}', "
        f"(n, {expected}), or paths of images, or images (n, height, width, 3) of type uint8"
    )
    raise DatasetError(message)


def as_images(x: Any, name: str) -> Dataset:
    """Returns images as a dataset without labels.

    Args:
        x: the path of an image or of a folder, several of them, a table with a column `path`, images as arrays or of
            Pillow, or a dataset.
        name: the name of the dataset.

    Raises:
        DatasetError: it is none of these, a single array, or there are no images.
    """
    if isinstance(x, Dataset):
        return without_labels(x, name)
    if _has_paths(x):
        x = list(x["path"])
    if isinstance(x, str | os.PathLike) or is_pillow(x):
        x = [x]
    if not np.iterable(x):
        message = f"the argument is of type {type(x).__name__}: expected features, or images as paths or arrays"
        raise DatasetError(message)
    if isinstance(x, np.ndarray) and x.ndim == _IMAGE_DIMENSIONS and x.shape[-1] == _IMAGE_DIMENSIONS:
        message = f"the images have the shape {x.shape}, which is a single image: pass a list of images, as [image]"
        raise DatasetError(message)
    if isinstance(x, np.ndarray):
        return unlabelled_images(x, name=name)
    images = [np.asarray(one.convert("RGB")) if is_pillow(one) else one for one in expand_folders(x)]
    return unlabelled_images(images, name=name)


def features_of(
    x: Any, bank: Bank, run: RunRecord, load: Callable[[], Any], *, batch_size: int, reporter: Reporter
) -> np.ndarray:  # fmt: skip
    """Returns the features that the head of a run takes, (n, ...) float32.

    Args:
        x: the argument of `Run.predict_proba`: features, or images, whose features are computed.
        bank: the bank of the run.
        run: the run.
        load: returns its head, which a joined tap needs.
        batch_size: the number of images per batch.
        reporter: receives the progress.

    Raises:
        DatasetError: see `Run.predict_proba`, also for other errors.
    """
    tap = run.tap
    if run.joined is None:
        features = as_features(x, bank.tap_shape(tap), tap)
        if features is not None:
            return features
        images = as_images(x, unlabelled_name(tap))
        return features_like(bank, tap, images, batch_size=batch_size, reporter=reporter)
    head = load()
    features = as_features(x, (head.n_features_in_,), tap)
    if features is not None:
        return features
    return joined_features(
        bank, tap, head, lambda name: as_images(x, name), columns_of(x), recorded=run.joined, batch_size=batch_size,
        reporter=reporter,
    )  # fmt: skip


def columns_of(x: Any) -> dict[str, np.ndarray]:
    """Returns the columns that an argument of `Run.predict` has beside the images: of a table, or of a dataset."""
    if isinstance(x, Dataset):
        return dict(x.metadata)
    return {str(name): np.asarray(x[name]) for name in x.columns} if _has_paths(x) else {}


def _are_paths_or_images(x: Any) -> bool:
    """Returns whether an argument holds paths, images or a dataset, before it is turned into one array."""
    if isinstance(x, Dataset | str | os.PathLike) or _has_paths(x) or is_pillow(x):
        return True
    first = x[0] if isinstance(x, list | tuple) and x else None
    return isinstance(first, str | os.PathLike) or getattr(first, "ndim", 0) > 1 or is_pillow(first)


def is_pillow(x: Any) -> bool:
    """Returns whether an argument is an image of Pillow."""
    return hasattr(x, "convert") and hasattr(x, "getbands")


def _has_paths(x: Any) -> bool:
    """Returns whether an argument is a table of pandas or polars with a column `path`."""
    return is_frame(x) and "path" in list(x.columns)
