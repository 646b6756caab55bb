"""The display of a dataset in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from featurebank.dataset.pictures import thumbnails_of
from featurebank.dataset.splits import SPLITS
from featurebank.system.html import PICTURES, Pictures, class_bars, picture, render
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.dataset.core import Dataset


def dataset_html(dataset: Dataset) -> str:
    """Returns the display of a dataset: its classes, and an image of each of the first ones.

    Splits are shown if they are known already: they depend on the contents of all images.
    """
    facts = [counted(len(dataset), "image"), counted(len(dataset.classes), "class")]
    warnings = []
    if dataset.is_fingerprinted and (unreadable := dataset.unreadable):
        warnings.append(f"{counted(len(unreadable), 'image')} cannot be read, the first is '{unreadable[0].id}'")
    rows = first_of_each(dataset.labels, len(dataset.classes))
    images = thumbnails_of(dataset, rows)
    pictures = images and Pictures(
        [
            picture(image, dataset.classes[int(dataset.labels[row])], dataset.ids[row])
            for row, image in zip(rows, images, strict=True)
        ]
    )
    bars = class_bars(dataset.classes, _counts(dataset), "images of each class")
    return render(f"Dataset {dataset.spec}", facts=facts, warnings=warnings, blocks=[pictures or None, bars])


def first_of_each(labels: np.ndarray, classes: int) -> list[int]:
    """Returns the position of the first image of each of the first classes.

    Args:
        labels: (n,) class of each image; negative for images that are not to be shown.
        classes: the number of classes.
    """
    found = []
    for label in range(min(classes, PICTURES)):
        place = int(np.argmax(labels == label)) if len(labels) else 0
        if len(labels) and labels[place] == label:
            found.append(place)
    return found


def _counts(dataset: Dataset) -> dict[str, list[int]]:
    size = len(dataset.classes)
    if not dataset.is_fingerprinted:
        return {"": np.bincount(dataset.labels[dataset.labels >= 0], minlength=size).tolist()}
    return {split: list(row.values()) for split, row in dataset.counts().items() if split in SPLITS}
