"""The public functions that look at images with the help of a bank."""

from __future__ import annotations

import os
from typing import Annotated, Any

import numpy as np

from featurebank.api.arguments.banks import BankLike, as_bank
from featurebank.api.arguments.checks import checked
from featurebank.api.display import Shown, showing
from featurebank.api.inputs import as_images
from featurebank.dataset.unlabelled import UNLABELLED
from featurebank.dataset.values.catalog import is_frame
from featurebank.similarity.neighbours import SimilarImages
from featurebank.similarity.queries import Queries
from featurebank.similarity.stage import SimilarOptions, run_similar
from featurebank.system.progress import Reporter

__all__ = ["SimilarImages", "similar"]

ImagesLike = Annotated[Any, "paths, ids of a bank, images as arrays or of Pillow, or a Dataset"]


@checked
def similar(
    images: ImagesLike,
    bank: BankLike | None = None,
    *,
    tap: str | None = None,
    top: int = 12,
    progress: Shown = None,
    reporter: Reporter | None = None,
) -> SimilarImages:
    """Finds the images of a bank that are most similar to some images, by the cosine of their features.

    Images that the bank has need no network. All others are read, resized and computed exactly as those of the bank,
    and their features are kept beside it. All images are compared in one pass over the bank, which reads its features
    from the disk and does not hold them in memory.

    Args:
        images: one image or several: the path of a file or of a folder, a URL, the id of an image of the bank, a table
            with a column `path`, images as arrays (n, h, w, 3) uint8 or of Pillow, or a `Dataset`.
        bank: the bank; by default the one that was used last.
        tap: the tap whose features are compared, by default "pooled"; maps are compared by their averages.
        top: the number of similar images for each image.
        progress: whether progress is shown; default: where a person looks, see `featurebank.set_progress`.
        reporter: receives the progress and the warnings in place of the screen.

    Returns:
        For each image its neighbours, the most similar first. An image of the bank is not among its own neighbours;
        its copies are, and are marked. Notebooks show the pictures; `write_page` writes them into one HTML file.

    Raises:
        UnknownNameError: an image is neither a file nor in the bank, or the bank has no such tap.
        ConfigError: an option is wrong, or the bank has no images.
        DatasetError: an image cannot be read.
        BankError: the bank cannot be read.

    Example:
        >>> found = fb.similar("7.png", "cache/photos", top=2)
        >>> found[0]
        <Neighbours of 7.png: Both most similar images are labelled class1, as the image itself is.>
        0.7723  class1  train  22.png
        0.7678  class1  val  61.png
        >>> found[0][0].label, found[0].vote
        ('class1', 'class1')
    """
    options = SimilarOptions(tap=tap, top=top)
    with showing(progress, reporter) as shown:
        known = as_bank(bank, "similar", reporter=shown)
        return run_similar(_queries(images, known), known, options, reporter=shown)


def _queries(images: Any, bank: Any) -> Queries:
    names = list(images["path"]) if is_frame(images) and "path" in list(images.columns) else images
    if isinstance(names, str | os.PathLike):
        names = [names]
    is_list = isinstance(names, list | tuple) or (isinstance(names, np.ndarray) and names.dtype.kind in "OUS")
    if is_list and names and all(isinstance(name, str | os.PathLike) for name in names):
        return Queries.named([str(name) for name in names], bank)
    return Queries.of(as_images(images, UNLABELLED))
