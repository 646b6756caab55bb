"""The option `--unlabelled keep`: images without a label may stay in a dataset, in no class and in no split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from featurebank.dataset.splits import UNLABELLED
from featurebank.errors import unknown_name
from featurebank.words import counted

KEEP = "keep"
"""The value of the option."""
HINT = f": label the image, or keep images without a label by --{UNLABELLED} {KEEP}"
FOLDERS = frozenset({UNLABELLED, "unlabeled"})
"""The names, in any case, of folders whose images have no label."""


def keeps_unlabelled(value: str | None) -> bool:
    """Returns whether images without a label stay in the dataset.

    Raises:
        UnknownNameError: there is no such value.
    """
    if value not in (None, KEEP):
        raise unknown_name("value of unlabelled", str(value), [KEEP])
    return value == KEEP


def in_unlabelled_folder(file: str) -> bool:
    """Returns whether one of the folders of a path is for images without a label.

    Example:
        >>> in_unlabelled_folder("Unlabeled/new/1.jpg"), in_unlabelled_folder("ant/unlabelled.jpg")
        (True, False)
    """
    return bool(unlabelled_folders([file]))


def unlabelled_folders(files: Iterable[str]) -> set[str]:
    """Returns the names of the folders for images without a label in which one of these files is.

    Example:
        >>> unlabelled_folders(["Unlabeled/new/1.jpg", "ant/2.jpg"])
        {'Unlabeled'}
    """
    return {part for file in files for part in file.split("/")[:-1] if part.casefold() in FOLDERS}


def unlabelled_line(labels: np.ndarray) -> Iterator[str]:
    """Yields one line for the user about the images without a label, if there are any.

    Args:
        labels: (n,) labels, negative for those images.
    """
    if number := int((labels < 0).sum()):
        yield f"{counted(number, 'image')} without a label: in no class and in no split, and no head is trained on them"


def class_lines(classes: Sequence[str]) -> Iterator[str]:
    """Yields one line for each class that may be meant as images without a label."""
    for name in classes:
        if name.casefold() in FOLDERS:
            yield f"'{name}' is a class here: --{UNLABELLED} {KEEP} takes its images as images without a label"
