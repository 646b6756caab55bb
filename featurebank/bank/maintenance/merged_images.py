"""Images of banks that are merged: one that several banks hold is one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from featurebank.bank.items import Items
from featurebank.errors import ConfigError


def join(tables: Sequence[Items], roles: Sequence[str], *, prefixed: bool) -> Items:
    """Concatenates item tables, keeping each image once.

    Args:
        tables: the images of each bank.
        roles: the names of the metadata columns that belong to an image as its label does.
        prefixed: whether ids begin with the name of a dataset. The same image of several datasets keeps the id that is
            first in the alphabet, so that the order of the banks does not matter.

    Raises:
        ConfigError: an id stands for different images, labels, splits, weights or groups.
    """
    names, known, first = ("image", "label", "split", *roles), dict[str, Any](), dict[Any, str]()
    images = [list(_images(table, roles, prefixed=prefixed)) for table in tables]
    for image in (image for table in images for image in table):
        values = known.setdefault(image.id, image.values)
        if values != image.values:
            part = names[[a == b for a, b in zip(values, image.values, strict=True)].index(False)]
            message = (
                f"'{image.id}' has another {part} in one bank than in another: extract both again, so that they agree"
            )
            raise ConfigError(message)
        first[image.key] = min(first.get(image.key, image.id), image.id)
    keep = []
    for table, own in zip(tables, images, strict=True):
        # the first bank that has the row gives it, and no other
        chosen = [place for place, image in enumerate(own) if first.get(image.key) == image.id and first.pop(image.key)]
        keep.append(table.select(np.array(chosen, np.int64)))
    shared = set.intersection(*(set(table.metadata) for table in keep))
    return Items(
        [name for table in keep for name in table.ids],
        np.concatenate([table.digests for table in keep]),
        np.concatenate([table.labels for table in keep]),
        np.concatenate([table.splits for table in keep]),
        {name: np.concatenate([table.metadata[name] for table in keep]) for name in keep[0].metadata if name in shared},
    )


class _Image(NamedTuple):
    """One row of a table."""

    id: str
    values: tuple[Any, ...]
    """Content, label and split, then the columns with a role."""
    key: tuple[Any, ...]
    """What the same image has in all banks: its id in the dataset, and the values."""


def _images(table: Items, roles: Sequence[str], *, prefixed: bool) -> Iterator[_Image]:
    columns = [table.digests, table.labels, table.splits, *(table.metadata[role] for role in roles)]
    for name, *values in zip(table.ids, *(column.tolist() for column in columns), strict=True):
        own = name.partition("/")[2] if prefixed else name
        yield _Image(name, tuple(values), (own, *values))
