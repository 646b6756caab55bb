"""Reads the images to explain: a picture to show, the network's square, and the row of the bank with this content."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from featurebank.backbone.resize import resize_image
from featurebank.bank import Bank
from featurebank.bank.index import Finder
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import parse_levels
from featurebank.dataset.pictures import is_local
from featurebank.dataset.unlabelled import expand_folders
from featurebank.errors import DatasetError
from featurebank.explanation.overlay import Frame
from featurebank.extraction.source_images import image_paths
from featurebank.system.parallel import ordered_map
from featurebank.words import one_line

SHOWN_SIDE = 800
"""The largest side of pictures: heat maps have no more detail, and hundreds of such pictures fit into memory."""
_LEAST_SIDE = 160
"""Smaller images, as those of CIFAR-10, are enlarged to this side at least, by a whole factor: on their few pixels no
heat map could be seen."""


@dataclass(frozen=True)
class ImageToExplain:
    """One image, as it is shown and as the network sees it."""

    name: str
    """The path as the caller wrote it; for an array, its index."""
    picture: np.ndarray
    """(height, width, 3) uint8: the image, shrunk to `SHOWN_SIDE` at most, or enlarged to `_LEAST_SIDE` at least."""
    square: np.ndarray
    """(s, s, 3) uint8: the input of the network."""
    frame: Frame
    digest: bytes
    """Of the image's content, as in `Bank.digests`."""


def named_images(names: Iterable[str | os.PathLike[str]], bank: Bank) -> list[str]:
    """Returns the paths of images that are named by files, folders or URLs, or by ids of images of a bank."""
    paths = [os.fspath(name) for name in expand_folders(names)]
    missing = {path for path in paths if "://" not in path and not os.path.exists(path)}  # noqa: PTH110 - of any text
    ids = [name for name in bank.ids() if name in missing] if missing else []
    places = dict(zip(ids, image_paths(bank, ids), strict=True))
    found = {name: path for name, path in places.items() if path is not None and is_local(path)}
    return [found.get(path, path) for path in paths]


class ImageReader:
    """Reads images like an extraction into a bank.

    Args:
        bank: its recipe says how images become the input of the network.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._size, self._rule = int(bank.recipe["image_size"]), str(bank.recipe["resize"])
        self._levels = parse_levels(bank.recipe.get("levels"))

    def read(self, images: Dataset, ahead: int) -> Iterator[ImageToExplain | tuple[str, str]]:
        """Yields the images in order; for an unreadable one, its name and the reason.

        Args:
            images: the images; a path is read when its turn comes.
            ahead: the largest number of images in memory before they are used.
        """

        def read_one(index: int) -> ImageToExplain | tuple[str, str]:
            try:
                with in_flight():
                    return self._image(images, index)
            except FileNotFoundError:
                return images.ids[index], "there is no such file"
            except (DatasetError, OSError) as error:
                return images.ids[index], one_line(getattr(error, "strerror", None) or error)

        yield from ordered_map(read_one, range(len(images)), name="explain", ahead=ahead)

    def positions(self, images: list[ImageToExplain]) -> np.ndarray:
        """Returns the positions in `bank.ids()` of images with the same content; -1 for those that the bank lacks."""
        return self._finder.find(np.array([image.digest for image in images], "S32"))

    @cached_property
    def _finder(self) -> Finder:
        return Finder(self._bank.digests())

    def _image(self, images: Dataset, index: int) -> ImageToExplain:
        digest = images.content_digest(index)
        pixels = images.image(index, self._levels, digest)
        height, width = pixels.shape[:2]
        square = resize_image(pixels, self._size, self._rule)
        return ImageToExplain(
            images.ids[index], _picture(pixels), square, Frame(width, height, self._size, self._rule), digest
        )


def _picture(pixels: np.ndarray) -> np.ndarray:
    """Returns an image in the size in which it is shown."""
    factor = -(-_LEAST_SIDE // max(pixels.shape[:2]))
    if factor > 1:
        return pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    shown = Image.fromarray(pixels)
    shown.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(shown)
