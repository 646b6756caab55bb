"""Checks of the splits and samples of a bank, before heads are trained on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featurebank.bank import Bank
from featurebank.bank.vectors import positions_in
from featurebank.errors import DatasetError
from featurebank.fitting.weights import labels_at, training_images
from featurebank.system.alike import enumerate_some
from featurebank.words import counted


def check_sample(bank: Bank, labels: np.ndarray) -> None:
    """Checks that a sample of training images has two classes.

    Args:
        bank: the bank.
        labels: (n,) the labels of the sample.

    Raises:
        DatasetError: all images of the sample are of one class.
    """
    if len(labels) and (labels == labels[0]).all():
        message = (
            f"the first {counted(len(labels), 'training image')} of '{bank.name}' are all of class "
            f"'{bank.classes[int(labels[0])]}', but a head needs at least two classes: use a larger --sample"
        )
        raise DatasetError(message)


def check_splits(bank: Bank) -> None:
    """Checks that heads can be trained and validated on a bank's own split.

    Raises:
        DatasetError: a split is empty, the training images have only one class, or no validation image belongs to a
            class with training images.
    """
    trained = training_images(bank, positions_in(bank, "train")).positions
    y, y_val = labels_at(bank, trained), bank.labels("val")
    if not len(y) and len(bank.labels("train")):
        message = f"'{bank.name}' has no images to train on: {bank.weight_line()}; give some of them a weight above 0"
        raise DatasetError(message)
    for name, labels in (("training images", y), ("validation images", y_val)):
        if not len(labels):
            message = (
                f"'{bank.name}' has no {name} among its {counted(len(bank), 'image')}: extract again with another "
                "--split, such as --split .7,.15,.15, or with more images"
            )
            raise DatasetError(message)
    if len(np.unique(y)) < 2:  # noqa: PLR2004 - a classifier needs two
        message = (
            f"every one of {counted(len(y), 'training image')} is of class '{bank.classes[int(y[0])]}', but a head "
            "needs at least two classes: check the labels, or extract again with another --split"
        )
        raise DatasetError(message)
    if not np.isin(y_val, y).any():
        message = (
            f"none of the {counted(len(y_val), 'validation image')} of '{bank.name}' is of a class that has training "
            "images, so every head would misclassify all of them: check the labels (are they classes?), or add images"
        )
        raise DatasetError(message)


def untrained_line(labels: np.ndarray, names: Sequence[str]) -> str | None:
    """Returns one line for the user about the classes that training lacks; None if it lacks none.

    Args:
        labels: (n,) the labels of the training images.
        names: the names of all classes.

    Example:
        >>> untrained_line(np.array([0, 0, 2]), ["ant", "bee", "cow"])
        "no training image of class 'bee': every head misclassifies its images"
    """
    missing = [names[label] for label in np.setdiff1d(np.arange(len(names)), labels)]
    if not missing:
        return None
    return f"no training image of class {enumerate_some(missing)}: every head misclassifies its images"
