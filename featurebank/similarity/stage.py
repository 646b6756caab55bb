"""The stage: images in, the most similar images of a bank out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from featurebank.bank import Bank
from featurebank.bank.vectors import vector_tap
from featurebank.extraction.source_images import image_paths, is_present
from featurebank.similarity.neighbours import Neighbour, Neighbours, SimilarImages
from featurebank.similarity.queries import Queries, Query, check_images
from featurebank.similarity.search import Nearest, nearest
from featurebank.system.options import StageOptions
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(StageOptions):
    """How similar images are searched for.

    Args:
        tap: the tap whose features are compared; maps are averaged. By default "pooled", or the first tap.
        top: the number of similar images for each image.

    Example:
        >>> SimilarOptions(top=0)
        Traceback (most recent call last):
        featurebank.system.options.OptionsError: top is 0: expected a whole number of 1 or more
    """

    tap: str | None = None
    top: Annotated[int, Ge(1)] = 12


def run_similar(queries: Queries, bank: Bank, options: SimilarOptions, *, reporter: Reporter = SILENT) -> SimilarImages:
    """Finds the images of a bank that are most similar to some images, by the cosine of their features.

    The features of an image that the bank does not have are computed like those of the bank. An image of the bank is
    not among its own neighbours; its copies are. Augmented views are not compared.

    Raises:
        ConfigError: the bank has no images, or no such tap.
        DatasetError: an image cannot be read.
        BankError: the bank cannot be read.
    """
    check_images(bank)
    tap = options.tap or vector_tap(bank) or bank.taps[0]
    bank.tap_shape(tap)
    queries = queries.located(bank)
    vectors = queries.vectors(bank, tap, reporter=reporter)
    with reporter.track("compare", len(bank), "images") as advance:
        found = nearest(bank, tap, vectors, options.top + 1, progress=advance)  # one more, for the image itself
    return SimilarImages(bank, tap, _neighbours(queries, bank, found, options.top), queries)


def _neighbours(queries: Queries, bank: Bank, found: list[Nearest], top: int) -> tuple[Neighbours, ...]:
    """Returns the neighbours of each query, without the image itself."""
    labels, splits, digests = bank.labels(), bank.splits(), bank.digests()
    places = [
        (positions[others], cosines[others])
        for query, (positions, cosines) in zip(queries.items, found, strict=True)
        for others in [np.flatnonzero(positions != query.position)[:top]]
    ]
    ids = bank.ids_at(np.concatenate([positions for positions, _ in places]))
    files = iter(zip(ids, image_paths(bank, ids), strict=True))
    lists = []
    for query, own, (positions, cosines) in zip(queries.items, queries.digests(bank), places, strict=True):
        rows = tuple(
            Neighbour(name, bank.label_names[labels[place]], str(splits[place]), cosine, _present(path),
                      bytes(digests[place]) == own, place)
            for place, cosine, (name, path) in zip(
                positions.tolist(), cosines.tolist(), itertools.islice(files, len(positions)), strict=True
            )
        )  # fmt: skip
        lists.append(Neighbours(query.name, rows, *_itself(query, bank, labels, splits)))
    return tuple(lists)


def _itself(
    query: Query, bank: Bank, labels: np.ndarray, splits: np.ndarray
) -> tuple[str | None, str | None, str | None, int | None]:
    """Returns id, label, split and position of an image of the bank."""
    place = query.position
    if place < 0:
        return None, None, None, None
    return bank.ids_at([place])[0], bank.label_names[labels[place]], str(splits[place]), place


def _present(path: str | None) -> str | None:
    return path if is_present(path) else None
