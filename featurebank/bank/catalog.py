"""Finds, lists, compares and removes the banks of a cache."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.bank.last_use import forget_use, last_use
from featurebank.bank.locks.writer_lock import LOCK, NOTE, WriterLock
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.pieces.notes import note_files
from featurebank.errors import BankError, BankNotFoundError, ConfigError, unknown_name
from featurebank.storage.address import parse_address
from featurebank.storage.caches import cache_directory, shown_path
from featurebank.system import digest
from featurebank.system.backing.directories import below, find, folders, is_file, remove, remove_content
from featurebank.system.files import path_inside
from featurebank.words import counted

UNLABELLED = "unlabelled-"
"""Prefix of the dataset names of `fb.FeatureBank`'s banks, which hold unlabelled images."""

RACED = "-race"
"""The end of the dataset names of the banks that hold the parts of a race."""

ALL_OF = "all-of:"
"""The beginning of a name for all banks of a dataset; see `featurebank.bank.comparison.all_of`."""

_DIGITS = 12
_NAMED = re.compile(rf".+--.+--.+|.+-[0-9a-f]{{{_DIGITS}}}")
"""Names of banks, of featurebank 0.1 and of today."""


@dataclass(frozen=True)
class BankSummary:
    """One line of `featurebank cache ls`."""

    name: str
    path: Path
    dataset: str
    backbone: str
    images: int | None
    """None until the first extraction has finished."""
    taps: tuple[str, ...]
    bytes: int
    """Total size of the bank's directory."""
    used: float
    """Time of the last use, in Unix seconds; see `featurebank.bank.last_use`."""
    problem: str | None = None
    """Why the bank cannot be read; None if it can."""
    rows: int = 0
    """Number of rows in all shards: one for each image, view and set of taps."""
    pixels: int | None = None
    """Side of the network's input in pixels."""
    views: int = 0
    """Number of views of each image, besides the clean one."""
    pieces: int = 0
    """Number of finished pieces of an extraction that are not listed yet."""


def bank_path(cache: Path, dataset: str, recipe: Mapping[str, Any]) -> Path:
    """Returns the path that the bank of a dataset and a recipe has by its name, whether it exists or not.

    The name is DATASET-NETWORK-224px-DIGEST, unless featurebank 0.1 created the bank under its own naming scheme.

    Args:
        cache: the cache's directory.
        dataset: name of the dataset.
        recipe: recipe of the bank.

    Raises:
        ConfigError: the names, which may come from a file, would lead outside the cache.

    Example:
        >>> recipe = {"backbone": "efficientnet_lite0", "image_size": 224}
        >>> bank_path(Path("cache"), "flowers", recipe).name.rpartition("-")[0]
        'flowers-lite0-224px'
    """
    backbone, key = str(recipe["backbone"]), digest.of_recipe(recipe)[:_DIGITS]
    pixels = f"-{recipe['image_size']}px" if "image_size" in recipe else ""
    try:
        path = path_inside(cache, f"{dataset}-{backbone.removeprefix('efficientnet_')}{pixels}-{key}")
        earlier = path_inside(cache, f"{dataset}--{backbone}--{key}")
    except ValueError as error:
        message = f"no bank can have this name: {error}"
        raise ConfigError(message) from error
    return earlier if is_file(earlier / MANIFEST) and not is_file(path / MANIFEST) else path


def locate_bank(cache: Path, dataset: str, recipe: Mapping[str, Any]) -> Path:
    """Returns the path of the bank of a dataset and a recipe, under whatever name; see `bank_path`.

    If no bank has that name, but exactly one in the cache has this dataset and recipe, its path is returned.
    """
    path = bank_path(cache, dataset, recipe)
    if is_file(path / MANIFEST):
        return path
    key, paths = digest.of_recipe(recipe), []
    for place in find(cache, f"*/{MANIFEST}"):
        with contextlib.suppress(BankError):
            manifest = load_manifest(place.parent)
            if manifest.key == key and manifest.dataset["name"] == dataset:
                paths.append(place.parent)
    return paths[0] if len(paths) == 1 else path


def bank_directories(cache: Path) -> list[Path]:
    """Returns the directories of a cache that are banks, or whose names suggest the remains of one."""
    return [path for path in folders(cache) if is_file(path / MANIFEST) or _NAMED.fullmatch(path.name)]


def banks_of(cache: Path) -> list[BankSummary]:
    """Returns the banks of a cache, the most recently used first; an unreadable one is listed with its problem."""
    banks = [_summary(path.parent) for path in find(cache, f"*/{MANIFEST}")]
    return sorted(banks, key=lambda bank: (-bank.used, bank.name))


def _summary(path: Path) -> BankSummary:
    size = sum(size for _, size in below(path))
    used = last_use(path).time
    try:
        manifest = load_manifest(path)
    except BankError as error:
        dataset, backbone = _from_name(path.name)
        return BankSummary(path.name, path, dataset, backbone, None, (), size, used, str(error))
    count = manifest.items["count"] if manifest.items else None
    rows = sum(shard.rows for shard in manifest.shards)
    return BankSummary(
        path.name, path, manifest.dataset["name"], manifest.recipe["backbone"], count, manifest.taps, size, used,
        rows=rows, pixels=manifest.recipe.get("image_size"), views=manifest.views,
        pieces=sum(1 for _ in note_files(path)),
    )  # fmt: skip


def _from_name(name: str) -> tuple[str, str]:
    """Derives the dataset and the backbone of an unreadable bank from its name."""
    if "--" in name:
        dataset, _, rest = name.partition("--")
        return dataset, rest.partition("--")[0]
    parts = name.rsplit("-", 3)
    return parts[0], parts[1] if len(parts) > 1 else ""


def find_bank_path(cache: Path, name: str | None = None) -> Path:
    """Returns the directory of a bank, by its path, its name or a prefix of it; see `featurebank.find_bank`."""
    if name is not None and not name.strip():  # an unset variable of a script is the beginning of every name
        message = "the name of the bank is empty: expected a path, a name or the beginning of one, or no name at all"
        raise ConfigError(message)
    if name is not None and name.startswith(ALL_OF):
        message = f"'{name}' names several banks, but one bank is expected here: 'featurebank cache ls' lists the banks"
        raise ConfigError(message)
    if name is not None and parse_address(name):
        place, _, name = name.rstrip("/").rpartition("/")
        cache = cache_directory(place)
    if name is not None and is_file(Path(name) / MANIFEST):
        return Path(name)
    banks = banks_of(cache)
    if not banks:
        message = (
            f"no bank in the cache '{shown_path(cache)}': create one by 'featurebank extract --backbone "
            "efficientnet_lite0'"
        )
        raise BankNotFoundError(message)
    if name is None:  # heads cannot be trained on the unlabelled features of `fb.FeatureBank`
        return next((bank.path for bank in banks if not bank.dataset.startswith(UNLABELLED)), banks[0].path)
    matches = [bank for bank in banks if bank.name == name] or [bank for bank in banks if bank.name.startswith(name)]
    if not matches:
        raise unknown_name("bank", name, [bank.name for bank in banks], "'featurebank cache ls' lists them")
    if len(matches) > 1:
        message = f"'{name}' is a prefix of {counted(len(matches), 'bank')}: " + ", ".join(
            bank.name for bank in matches
        )
        raise ConfigError(message)
    return matches[0].path


def recipe_differences(one: Manifest, other: Manifest) -> dict[str, tuple[Any, Any]]:
    """Returns the parts in which two recipes differ: {part: (value in `one`, value in `other`)}."""
    first, second = dict(one.recipe), dict(other.recipe)
    parts = sorted(first.keys() | second.keys())
    return {part: (first.get(part), second.get(part)) for part in parts if first.get(part) != second.get(part)}


def remove_bank(path: Path) -> None:
    """Deletes a bank with its runs, the manifest first, so that an interrupted removal leaves no bank behind.

    It works on a full disk, too. Of a symbolic link (the bank, its runs or a shard) only the link is deleted.

    Raises:
        BankLockedError: a process is writing the bank.
        BankNotFoundError: there is no bank.
    """
    if not is_file(path / MANIFEST):
        message = f"no bank at '{path}': 'featurebank cache ls' lists the banks"
        raise BankNotFoundError(message)
    forget_use(path)
    if path.is_symlink():
        path.unlink()
    else:
        remove_directory(path)


def remove_directory(path: Path, *, unless_bank: bool = False) -> None:
    """Deletes the directory of a bank; a process that waits to write it then starts from scratch.

    Args:
        path: the directory.
        unless_bank: keep the directory if it has a manifest by the time that it is locked.

    Raises:
        BankLockedError: a process is writing the bank.
    """
    with WriterLock(path, freeing=True):
        if unless_bank and is_file(path / MANIFEST):
            return
        remove(path / MANIFEST)
        remove_content(path, {LOCK, NOTE})
        if os.name != "nt":  # Windows cannot delete an open file; elsewhere the name goes while the lock is still held
            (path / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: the next writer has arrived
        if os.name == "nt":
            (path / LOCK).unlink(missing_ok=True)
        path.rmdir()
