"""Similar images as pictures: a page that contains all that it shows, and the display of notebooks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featurebank.dataset.pictures import LIMIT_S, PictureSource, picture_of, read_pictures
from featurebank.extraction.source_images import picture_sources
from featurebank.system.files import PAGES, check_output
from featurebank.system.html import PICTURES, TINY, Picture, Pictures, data_uri, picture, render
from featurebank.system.pages.contact_sheet import PIXELS, PictureGroup, Tile, write_contact_sheet
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.similarity.neighbours import Neighbour, Neighbours, SimilarImages

"""The suffixes of a page's name."""
_PAGE_S = 60.0
"""No further picture of a page is read after this time."""
_LARGE, _SMALL_PIXELS = 150, 144
"""On a page with more pictures, they are smaller files: 100 photos with 12 neighbours each take 10 MB."""
_ROWS = 5
"""Maximum number of images whose neighbours a notebook shows."""

_Images = dict[int | str, np.ndarray | str]
"""The thumbnail of each image, or the reason why there is none: by position in the bank, or by name."""


def write_page(similar: SimilarImages, path: str | Path, *, force: bool = False, reporter: Reporter = SILENT) -> Path:
    """Writes a contact sheet of all images and their neighbours; see `SimilarImages.write_page`."""
    target = check_output(path, force=force, suffixes=PAGES)
    rows = [[_key(one), *(row.position for row in one)] for one in similar]
    side = PIXELS if sum(map(len, rows)) <= _LARGE else _SMALL_PIXELS
    images = _read(similar, rows, side, _PAGE_S, reporter)
    bank, alone = similar.bank, len(similar) == 1
    facts = [
        f"Bank: {bank.name}", f"Network: {bank.recipe.get('backbone', '')}", f"Tap: {similar.tap}",
        f"Compared with {counted(len(bank), 'image')}",
    ]  # fmt: skip
    title = f"Similar to {_file_name(similar[0].image) if alone else counted(len(similar), 'image')}"
    groups = [_group(one, images, alone=alone) for one in similar]
    write_contact_sheet(target, title, similar.sentence, groups, facts=facts)
    return target


def similar_html(similar: SimilarImages) -> str:
    """Returns the display of notebooks: the first images, each with its nearest neighbours."""
    shown = [(one, one[: PICTURES - 1]) for one in similar.images[:_ROWS]]
    rows = [[_key(one), *(row.position for row in nearest)] for one, nearest in shown]
    images = _read(similar, rows, _SMALL_PIXELS, LIMIT_S, SILENT)
    blocks = []
    for one, nearest in shown:
        itself = _small(one.image, one.image, images[_key(one)])
        others = [_small(f"{row.cosine:.3f} {row.label}", row.id, images[row.position]) for row in nearest]
        blocks.append(Pictures([itself, *others], f"{one.image}: {one.sentence}"))
    facts = [counted(len(similar), "image"), f"bank {similar.bank.name}", f"tap {similar.tap}"]
    more = [f"the first {_ROWS} are shown"] if len(similar) > _ROWS else []
    return render("Similar images", facts=[*facts, *more], blocks=blocks)


def _read(
    similar: SimilarImages, rows: Sequence[Sequence[int | str]], side: int, limit_s: float, reporter: Reporter
) -> _Images:
    """Reads the picture of each image once."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with reporter.track("read", len(keys), "pictures") as advance:
        images = read_pictures(_sources(similar, keys), [side] * len(keys), limit_s=limit_s, progress=advance)
    return dict(zip(keys, images, strict=True))


def _small(caption: str, title: str, image: np.ndarray | str) -> Picture:
    return picture(None if isinstance(image, str) else image, caption, title)


def _key(one: Neighbours) -> int | str:
    return one.image if one.position is None else one.position


def _sources(similar: SimilarImages, keys: Sequence[int | str]) -> list[PictureSource]:
    """Returns where the picture of each image comes from: of the bank by its position, of the others by their names."""
    positions = [key for key in keys if isinstance(key, int)]
    known: dict[int | str, PictureSource] = dict(zip(positions, picture_sources(similar.bank, positions), strict=True))
    images = None if similar.queries is None else similar.queries.images
    if images is not None:
        rows = {query.name: query.row for query in similar.queries.items if query.row >= 0}
        for name in keys:
            if isinstance(name, str):
                known[name] = picture_of(images, rows[name], images.digests[rows[name]])
    return [known[key] for key in keys]


def _group(one: Neighbours, images: _Images, *, alone: bool) -> PictureGroup:
    if one.label is not None and one.split is not None:
        lines = [one.label, one.split]
    else:
        lines = ["a copy of an image of the bank" if any(row.is_copy for row in one) else "not an image of the bank"]
    lead = Tile(_large(one.image, one.image, images[_key(one)]), lines, kind=one.split or "")
    tiles = [_tile(row, images) for row in one]
    return PictureGroup(tiles, "" if alone else _file_name(one.image), "" if alone else one.sentence, lead)


def _file_name(image: str) -> str:
    """Returns the last part of a path or an id."""
    return re.split(r"[/\\]", image.rstrip("/\\"))[-1] or image


def _tile(row: Neighbour, images: _Images) -> Tile:
    copy = ["the same image"] if row.is_copy else []
    return Tile(
        _large(row.label, row.id, images[row.position]), [f"cosine {row.cosine:.3f}", row.id, *copy, row.split],
        row.cosine, row.split,
    )  # fmt: skip


def _large(caption: str, title: str, image: np.ndarray | str) -> Picture:
    """Returns a picture; without one, its title is the reason."""
    if isinstance(image, str):
        return Picture(None, caption, image)
    return Picture(data_uri(image), caption, title, tiny=max(image.shape[:2]) <= TINY)
