"""Checks whether banks that are merged agree on the splits and labels of their common images, by content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurebank.bank.items import Items
from featurebank.dataset.splits import SPLITS
from featurebank.dataset.weights import WEIGHT
from featurebank.errors import ConfigError
from featurebank.system.alike import enumerate_some
from featurebank.system.digest import distinct


@dataclass(frozen=True)
class Resplit:
    """A new assignment of all images to splits, by their content alone."""

    fractions: Sequence[float]
    """Fractions of train, val and test."""
    seed: int
    assign: Callable[[np.ndarray], np.ndarray]
    """Returns the split of each content digest, or of what decides in its place: (n,) "S32" -> (n,) uint8."""


def split_again(
    tables: Sequence[Items], resplit: Resplit, keys: Sequence[np.ndarray] | None = None
) -> tuple[list[Items], dict[str, Any]]:
    """Returns tables with new splits, and the fact for the bank's history.

    Args:
        tables: the images of each bank.
        resplit: how to split them.
        keys: (n,) "S32" for each bank, what decides the split of each image; by default its content.
    """
    keys = [table.digests for table in tables] if keys is None else keys
    splits = map(resplit.assign, keys)
    fresh = [
        Items(table.ids, table.digests, table.labels, np.where(table.labels < 0, table.splits, new), table.metadata)
        for table, new in zip(tables, splits, strict=True)
    ]
    moved = sum(int((old.splits != new.splits).sum()) for old, new in zip(tables, fresh, strict=True))
    about = {"seed": resplit.seed, "fractions": list(resplit.fractions), "moved": moved}
    return fresh, {"resplit": about}


def check_splits(tables: Sequence[Items], names: Sequence[str]) -> None:
    """Checks that no content has different splits in different banks.

    Args:
        tables: the images of each bank.
        names: the names of the banks.

    Raises:
        ConfigError: a content has.
    """
    contents = distinct(np.concatenate([table.digests for table in tables]))
    splits = np.stack([_splits_of(contents, table) for table in tables])
    first = splits[np.argmax(splits > 0, axis=0), np.arange(len(contents))]
    differs = (splits > 0) & (splits != first)
    conflicts = np.flatnonzero(differs.any(axis=0))
    if not len(conflicts):
        return
    place = int(conflicts[0])
    two = [int(np.argmax(splits[:, place] > 0)), int(np.argmax(differs[:, place]))]
    shown = ", ".join(f"{_where(tables[number], contents[place])} of '{names[number]}'" for number in two)
    message = (
        f"{_images(len(conflicts))} in different splits in different banks (the first: {shown}), so heads would be "
        "tested on images that they were trained on: use --seed 0 to decide all splits again by the content of the "
        "images, or extract all banks with the same seed"
    )
    raise ConfigError(message)


def _splits_of(contents: np.ndarray, table: Items) -> np.ndarray:
    """Returns the splits in which a table has each content: (n,) uint8, one bit per split."""
    splits = np.zeros(len(contents), np.uint8)
    labelled = table.labels >= 0  # the others are in no split
    bits = np.left_shift(1, table.splits[labelled]).astype(np.uint8)
    np.bitwise_or.at(splits, np.searchsorted(contents, table.digests[labelled]), bits)
    return splits


def _where(table: Items, content: bytes) -> str:
    places = np.flatnonzero(table.digests == content).tolist()
    splits = sorted({SPLITS[table.splits[place]] for place in places if table.labels[place] >= 0})
    return f"'{table.ids[places[0]]}' in {' and '.join(splits)}"


def different_views(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields a line if datasets were split by different seeds or fractions."""
    kinds = list(dict.fromkeys(f"{record.get('fractions')} by seed {record.get('seed')}" for record in records))
    if len(kinds) > 1:
        shown = "; ".join(kinds)
        yield f"the banks were split differently ({shown}): each image keeps its split; --seed decides all again"


def without_weights(records: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields a line if some banks have weights of their images and others have none.

    Args:
        records: the dataset that each bank records, by the name of the bank.
    """
    plain = [name for name, record in records.items() if WEIGHT not in record]
    if plain and len(plain) < len(records):
        yield f"other banks have weights, so each image of these banks counts 1: {enumerate_some(plain)}"


def labelled_differently(tables: Sequence[Items]) -> Iterator[str]:
    """Yields a line if images with the same content have several labels."""
    every = np.concatenate([table.labels for table in tables])
    labelled = every >= 0
    contents, where = np.unique(np.concatenate([table.digests for table in tables])[labelled], return_inverse=True)
    labels = every[labelled]
    low, high = np.full(len(contents), np.iinfo(np.int32).max), np.full(len(contents), -1)
    np.minimum.at(low, where, labels)
    np.maximum.at(high, where, labels)
    wrong = np.flatnonzero(low != high)
    if len(wrong):
        ids = [name for table in tables for name in table.ids]
        first = [ids[place] for place in np.flatnonzero(labelled)[where == wrong[0]].tolist()]
        shown = " and ".join(f"'{name}'" for name in first[:2])
        yield f"{_images(len(wrong))} labelled in more than one way (the first: {shown}): only one label can be correct"


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count} images are"
