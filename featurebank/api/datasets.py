"""Public functions that load datasets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from featurebank.api.display import showing
from featurebank.dataset import Dataset, DatasetInfo, DatasetOptions, known_datasets, load_images

__all__ = ["Dataset", "list_datasets", "load_dataset"]


def load_dataset(
    spec: str | os.PathLike[str],
    *,
    split: Sequence[float] | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    per_class: int | None = None,
    layout: str | None = None,
    columns: Mapping[str, str] | None = None,
    test: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Loads a dataset: lists its images, but reads none yet.

    Args:
        spec: see the top of this module; "digits", "folder:PATH", "manifest:FILE.csv", a path, ...
        split: the fractions (train, val, test), or (train, val) for no test, of the images without a given split;
            default (.7, .15, .15).
        seed: seed of the split; together with an image's content, it decides the image's split.
        classes: names of the classes to load; default all.
        limit: total number of images to load; default all. The choice depends only on their ids.
        per_class: number of images of each class to load; default all.
        layout: for a folder: "classes" or "splits", the meaning of its subfolders; by default, their names and content
            decide.
        columns: for a table: the names of its columns for "path", "label" and "split"; by default these, or usual
            alternatives, as "filename" and "class".
        test: another dataset, as `spec`, whose images become the test split; its classes are matched by name. `split`
            then has two fractions, for training and validation.

    Returns:
        The dataset.

    Raises:
        ConfigError: an argument is wrong, or does not apply to this kind of dataset.
        UnknownNameError: there is no dataset or no class of this name.
        DatasetError: the dataset is missing, damaged, or not laid out as expected.
        MissingDependencyError: a package that this kind of dataset needs is not installed.

    Example:
        >>> load_dataset("digits", limit=100, seed=1)
        <Dataset digits: 100 images, 10 classes>
    """
    options = DatasetOptions(
        split=split, seed=seed, classes=classes, limit=limit, per_class=per_class, layout=layout, columns=columns,
        test=None if test is None else os.fspath(test),
    )  # fmt: skip
    with showing():  # built-in datasets and archives are downloaded
        return load_images(os.fspath(spec), options)


def list_datasets() -> list[DatasetInfo]:
    """Returns the built-in datasets and the kinds of datasets.

    Example:
        >>> list_datasets()[0].what
        'handwritten digits, 8 x 8, 10 classes'
    """
    return known_datasets()
