"""Public functions that load datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from featurebank.api.arguments.checks import checked
from featurebank.api.arguments.data import GroupsLike, SourceLike, as_spec, is_path
from featurebank.api.display import showing
from featurebank.dataset import Dataset, DatasetInfo, DatasetOptions, known_datasets, load_images
from featurebank.dataset.grouping.components import GROUP
from featurebank.errors import ConfigError

__all__ = ["Dataset", "list_datasets", "load_dataset"]


@checked
def load_dataset(
    spec: SourceLike,
    *,
    split: Sequence[float] | None = None,
    seed: int = 0,
    classes: Annotated[Sequence[str], "a list of class names, as ['ant', 'bee']"] | None = None,
    limit: int | None = None,
    per_class: int | None = None,
    layout: str | None = None,
    unlabelled: Literal["keep"] | None = None,
    columns: Mapping[str, str] | None = None,
    test: SourceLike | None = None,
    groups: GroupsLike | None = None,
) -> Dataset:
    """Loads a dataset: lists its images, but reads none yet.

    Args:
        spec: the images and their labels: a folder with one folder for each class; a table (.csv, .tsv, .parquet); a
            name of `list_datasets()`, as "digits"; or KIND:PATH, as "npz:FILE" (see `featurebank.dataset.catalog`). Or
            a list of image files, whose folders are their classes; a pair (X, y) of images, as arrays or paths, and
            labels; a data frame of pandas or polars with the columns `path`, `label` and any others, as in a table; or
            a dataset of Keras or tf.data that yields images and labels. Images in memory are whole numbers from 0 to
            255, or floats from 0 to 1.
        split: the fractions (train, val, test), or (train, val) for no test, of the images without a given split;
            default (.7, .15, .15).
        seed: seed of the split; together with an image's content, it decides the image's split.
        classes: names of the classes to load; default all.
        limit: total number of images to load; default all. The choice depends only on their ids.
        per_class: number of images of each class to load; default all.
        layout: for a folder: "classes" or "splits", the meaning of its subfolders; by default, their names and content
            decide.
        unlabelled: "keep" keeps images without a label, which are in no class and in no split: rows of a table with an
            empty label, and images in a folder named "unlabelled"; by default, an empty label is an error, and a folder
            of this name is a class.
        columns: for a table: the names of its columns for "path", "label", "split" and "weight"; by default these, or
            usual alternatives, as "filename" and "class".
        test: another dataset, as `spec`, whose images become the test split; its classes are matched by name. `split`
            then has two fractions, for training and validation.
        groups: which images belong together, as those of one patient: the name of a column of the dataset, or
            "path:REGEX" with a part named `group` that finds the group in an image's id. For images, lists and tables
            of a program also a list or an array with the group of each image. The images of a group share a split and a
            fold, and so do groups with an image in common.

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
        >>> import numpy as np
        >>> len(load_dataset((np.zeros((6, 32, 32, 3), np.uint8), ["ant", "bee"] * 3)))
        6
    """
    is_named = is_path(spec)
    listed = None if groups is None or isinstance(groups, str) else groups
    if is_named and listed is not None:
        message = f"groups is a list, but '{spec}' is read from files: name a column, or a rule on the path"
        raise ConfigError(message)
    options = DatasetOptions(
        split=split, seed=seed, classes=classes, limit=limit, per_class=per_class, layout=layout,
        unlabelled=unlabelled if is_named else None, columns=columns if is_named else None,
        test=None if test is None else as_spec(test),
        groups=groups if isinstance(groups, str) or groups is None else GROUP,
    )  # fmt: skip
    source = as_spec(spec, None if is_named else columns, None if is_named else unlabelled, listed)
    with showing():  # built-in datasets and archives are downloaded
        return load_images(source, options)


def list_datasets() -> list[DatasetInfo]:
    """Returns the built-in datasets and the kinds of datasets.

    Example:
        >>> list_datasets()[0].what
        'handwritten digits, 8 x 8, 10 classes'
    """
    return known_datasets()
