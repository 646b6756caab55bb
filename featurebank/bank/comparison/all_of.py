"""Finds all banks of one dataset in a cache: what `--bank all-of:DATASET` means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.bank.catalog import ALL_OF, RACED, UNLABELLED
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.errors import BankError, BankNotFoundError, ConfigError, unknown_name
from featurebank.storage.caches import shown_path
from featurebank.system.backing.directories import find
from featurebank.words import counted

_PLACE = re.compile("-[0-9a-f]{6}$")
"""The end of a dataset's name that identifies the place of its images."""


@dataclass(frozen=True)
class DatasetBanks:
    """The banks of one dataset."""

    dataset: str
    """The name of the dataset in the banks."""
    paths: tuple[Path, ...]
    """The directories of the complete banks, sorted by their names."""
    left_out: tuple[str, ...] = ()
    """One line for each bank of the dataset that cannot be used."""


def dataset_of(name: str | None) -> str | None:
    """Returns the dataset that "all-of:DATASET" names; None for any other name of a bank.

    Raises:
        ConfigError: the name is "all-of:" without a dataset.

    Example:
        >>> dataset_of("all-of:flowers"), dataset_of("flowers-lite0-224px-59a13d945f97")
        ('flowers', None)
    """
    if name is None or not name.startswith(ALL_OF):
        return None
    if dataset := name.removeprefix(ALL_OF).strip():
        return dataset
    message = f"'{ALL_OF}' names no dataset: expected {ALL_OF}DATASET, as {ALL_OF}flowers"
    raise ConfigError(message)


def banks_of_dataset(cache: Path, dataset: str) -> DatasetBanks:
    """Returns the complete banks of a dataset, of any network, size and precision.

    A part of a dataset (`--limit`, `--per-class`, `--classes`, the parts of a race) is a dataset with a name of its
    own. Its banks are returned if the name of the part is given, or if the cache has no bank of the whole dataset.

    Args:
        cache: the cache.
        dataset: the name of the dataset, with or without the digest of its place at the end; or its specification, such
            as a path.

    Raises:
        BankNotFoundError: the cache has no bank, or no complete bank of the dataset.
        UnknownNameError: the cache has no bank of such a dataset.
        ConfigError: several datasets are meant.
    """
    known = dict(_labelled(cache))
    if not known:
        message = f"no bank in the cache '{shown_path(cache)}': create one by 'featurebank extract'"
        raise BankNotFoundError(message)
    name = _name_of(dataset, known.values())
    members = {path: manifest for path, manifest in known.items() if manifest.dataset["name"] == name}
    paths = sorted(path for path, manifest in members.items() if manifest.items is not None)
    unfinished = [path.name for path, manifest in sorted(members.items()) if manifest.items is None]
    if not paths:
        message = (
            f"no bank of '{name}' is complete ({', '.join(unfinished)}): run 'featurebank extract' again, which "
            "continues it"
        )
        raise BankNotFoundError(message)
    left_out = [f"'{bank}' is left out: its extraction has not finished" for bank in unfinished]
    return DatasetBanks(name, tuple(paths), tuple(left_out))


def dataset_name(bank: Path) -> str:
    """Returns the name of the dataset of a bank; raises the errors of `load_manifest`."""
    return str(load_manifest(bank).dataset["name"])


def _labelled(cache: Path) -> Iterable[tuple[Path, Manifest]]:
    """Yields the readable banks of a cache; `featurebank cache ls` lists the unreadable ones with the reason."""
    for place in find(cache, f"*/{MANIFEST}"):
        try:
            manifest = load_manifest(place.parent)
        except BankError:
            continue
        if not manifest.dataset["name"].startswith(UNLABELLED):
            yield place.parent, manifest


def _name_of(dataset: str, manifests: Iterable[Manifest]) -> str:
    """Returns the name of the dataset that a user means, as the banks have it."""
    records = {str(manifest.dataset["name"]): manifest.dataset for manifest in manifests}
    if dataset in records:
        return dataset
    found = [name for name, record in records.items() if _places(str(record.get("spec", ""))) & _places(dataset)]
    found = found or [name for name, record in records.items() if _base(name, record) == dataset]
    whole = [name for name in found if not records[name].get("subset") and not name.endswith(RACED)]
    names = sorted(whole or found)
    if not names:
        raise unknown_name(
            "dataset", dataset, records, "'featurebank cache ls' lists the banks, 'featurebank extract' creates one"
        )
    if len(names) > 1:
        message = (
            f"'{dataset}' may be {counted(len(names), 'dataset')} with banks: {', '.join(names)}; name one of them"
        )
        raise ConfigError(message)
    return names[0]


def _base(name: str, record: Mapping[str, Any]) -> str:
    """Returns the name of a dataset without the digests of its part and its place at the end."""
    return _PLACE.sub("", _PLACE.sub("", name, 1) if record.get("subset") else name, 1)


def _places(spec: str) -> set[str]:
    """Returns the texts that mean the same dataset as a specification; paths are absolute."""
    bare = spec.partition("#")[0]
    inner = bare.partition(":")[2]
    texts = {text for text in (bare, inner) if text and not text.startswith("//")}
    return texts | {os.path.abspath(os.path.expanduser(text)) for text in texts if "://" not in text}  # noqa: PTH100, PTH111
