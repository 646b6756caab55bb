"""Two well-known sets of photos: the flowers of TensorFlow's tutorials, and the birds of Caltech (CUB-200, 2010)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from featurebank.dataset.core import Contents
from featurebank.dataset.sources import folder, lists
from featurebank.dataset.sources.archives import PhotoArchive, find, homes, provide

FLOWERS = (
    PhotoArchive(
        "flower_photos.tgz",
        "flower_photos",
        (
            "https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",
            "http://download.tensorflow.org/example_images/flower_photos.tgz",
        ),
        228_813_984,
        "4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
    ),
)
"""3670 photos of five kinds of flowers."""

_CALTECH = "http://www.vision.caltech.edu/visipedia-data/CUB-200"
_DRIVE = "https://drive.usercontent.google.com/download?confirm=t&id="

BIRDS = (
    PhotoArchive(
        "images.tgz",
        "images",
        (f"{_CALTECH}/images.tgz", f"{_DRIVE}1GDr1OkoXdhaXWGA8S3MAq3a522Tak-nx"),
        679_421_896,
        "2a6d2246bbb9778ca03aa94e2e683ccb4f8821a36b7f235c0822e659d60a803e",
    ),
    PhotoArchive(
        "lists.tgz",
        "lists",
        (f"{_CALTECH}/lists.tgz", f"{_DRIVE}1vZuZPqha0JjmwkdaS_XtYryE3Jf5Q1AC"),
        201_844,
        "aeacbd5e3539ae84ea726e8a266a9a119c18f055cd80f3836d5eb4500b005428",
    ),
)
"""6033 photos of 200 species of birds, and the lists of train and test."""


def load_flowers(argument: str, archives: Sequence[PhotoArchive] = FLOWERS) -> Contents:
    """Loads the flowers: 3670 photos in 5 classes, from the place of `where_flowers`, else downloaded (229 MB).

    Args:
        argument: ignored.
        archives: the archives to download.

    Raises:
        DatasetError: they are not here and cannot be downloaded; the message says which file to put where.
    """
    place = _classes_of_flowers() or provide("flowers", archives, _flower_places()) / archives[0].folder
    return dataclasses.replace(folder.load(str(place)), name="flowers", spec="flowers")


def load_birds(argument: str, archives: Sequence[PhotoArchive] = BIRDS) -> Contents:
    """Loads the birds: 6033 photos in 200 classes, with given train and test splits; downloads them if needed (680 MB).

    Args:
        argument: ignored.
        archives: the archives to download.

    Raises:
        DatasetError: they are not here and cannot be downloaded; the message says which file to put where.
    """
    place = provide("birds", archives, _bird_places())
    return dataclasses.replace(lists.load(str(place)), name="birds", spec="birds")


def where_flowers() -> Path | None:
    """Returns the place of the flowers or their archive: $FEATUREBANK_DATA, `flowers` in it, or the user's cache."""
    return _classes_of_flowers() or find(FLOWERS, _flower_places())


def where_birds() -> Path | None:
    """Returns the place of the birds or their archives: `birds` in $FEATUREBANK_DATA or in the user's cache."""
    return find(BIRDS, _bird_places())


def _flower_places() -> list[Path]:
    return [place for home in homes() for place in (home / "flowers", home)]


def _bird_places() -> list[Path]:
    return [home / "birds" for home in homes()]


def _classes_of_flowers() -> Path | None:
    """Returns a folder `flowers` that contains the class folders itself."""

    def holds_classes(place: Path) -> bool:
        inside = [entry.name for entry in place.iterdir() if entry.is_dir()] if place.is_dir() else []
        return FLOWERS[0].folder not in inside and any(not name.startswith(".") for name in inside)

    return next((place for home in homes() if holds_classes(place := home / "flowers")), None)
