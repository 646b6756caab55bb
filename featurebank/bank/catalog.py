"""Finding, listing, comparing and removing the banks of a cache."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurebank.bank.last_use import forget_use, last_use
from featurebank.bank.locks.writer_lock import LOCK, NOTE, WriterLock
from featurebank.bank.manifest import MANIFEST, Manifest, load_manifest
from featurebank.bank.reader import Bank
from featurebank.errors import BankError, BankNotFoundError, ConfigError, unknown_name
from featurebank.system import digest
from featurebank.system.files import path_inside
from featurebank.words import counted

UNLABELLED = "unlabelled-"
"""How the datasets are named of the banks that `fb.FeatureBank` keeps: images without labels."""

_DIGITS = 12
_NAMED = re.compile(rf".+--.+--.+|.+-[0-9a-f]{{{_DIGITS}}}")
"""The names of banks, of featurebank 0.1 and now."""


@dataclass(frozen=True)
class BankSummary:
    """One line of `featurebank cache ls`."""

    name: str
    path: Path
    dataset: str
    backbone: str
    images: int | None
    """None while the first extraction has not ended."""
    taps: tuple[str, ...]
    bytes: int
    """Of everything in the bank's directory."""
    used: float
    """When it was last used, in Unix seconds; see `featurebank.bank.last_use`."""
    problem: str | None = None
    """Why it cannot be read, if it cannot."""
    rows: int = 0
    """In all shards: of each image, one a view and set of taps."""
    pixels: int | None = None
    """The side of the images that its network gets."""
    views: int = 0
    """How many views each image has beside the clean one."""


def bank_path(cache: Path, dataset: str, recipe: Mapping[str, Any]) -> Path:
    """Returns where the bank of a dataset and a recipe lies in a cache by its name, whether it is there or not.

    That is DATASET-NETWORK-224px-DIGEST, where featurebank 0.1 has not made it under its own kind of name already.

    Args:
        cache: the cache's directory.
        dataset: its name.
        recipe: of the bank.

    Raises:
        ConfigError: the names, which may come out of a file, would lead elsewhere.

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
    return earlier if (earlier / MANIFEST).is_file() and not (path / MANIFEST).is_file() else path


def locate_bank(cache: Path, dataset: str, recipe: Mapping[str, Any]) -> Path:
    """Returns where the bank of a dataset and a recipe lies, under whatever name; see `bank_path`.

    Where no bank has the name, a bank of this dataset and recipe is taken if it is the only one in the cache.
    """
    path = bank_path(cache, dataset, recipe)
    if (path / MANIFEST).is_file():
        return path
    key, found = digest.of_recipe(recipe), []
    for place in cache.glob(f"*/{MANIFEST}"):
        with contextlib.suppress(BankError):
            manifest = load_manifest(place.parent)
            if manifest.key == key and manifest.dataset["name"] == dataset:
                found.append(place.parent)
    return found[0] if len(found) == 1 else path


def bank_directories(cache: Path) -> list[Path]:
    """Returns the directories of a cache that are banks, or by their names may be what is left of one."""
    found = (path for path in cache.iterdir() if path.is_dir()) if cache.is_dir() else ()
    return sorted(path for path in found if (path / MANIFEST).is_file() or _NAMED.fullmatch(path.name))


def list_banks(cache: Path) -> list[BankSummary]:
    """Returns the banks of a cache, the last used first; an unreadable one is listed with its problem."""
    if not cache.is_dir():
        return []
    found = [_summary(path.parent) for path in cache.glob(f"*/{MANIFEST}")]
    return sorted(found, key=lambda bank: (-bank.used, bank.name))


def _summary(path: Path) -> BankSummary:
    size = sum(map(_bytes, path.rglob("*")))
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
    )  # fmt: skip


def _from_name(name: str) -> tuple[str, str]:
    """Returns what the name of an unreadable bank says of its dataset and backbone."""
    if "--" in name:
        dataset, _, rest = name.partition("--")
        return dataset, rest.partition("--")[0]
    parts = name.rsplit("-", 3)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _bytes(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # a writer renames its files while we look
        return path.stat().st_size if path.is_file() else 0
    return 0


def find_bank(cache: Path, name: str | None = None) -> Bank:
    """Opens a bank by its path, its name in the cache or the beginning of that name; by default the last used.

    Raises:
        BankNotFoundError: the cache has no bank.
        UnknownNameError: no bank has this name.
        ConfigError: several names begin like this.
        BankError: the bank cannot be read.
    """
    return Bank(find_bank_path(cache, name))


def find_bank_path(cache: Path, name: str | None = None) -> Path:
    """Returns the directory of a bank; see `find_bank`."""
    if name is not None and (Path(name) / MANIFEST).is_file():
        return Path(name)
    banks = list_banks(cache)
    if not banks:
        message = f"no bank in the cache '{cache}': make one with 'featurebank extract --backbone efficientnet_lite0'"
        raise BankNotFoundError(message)
    if name is None:  # features without labels, of `fb.FeatureBank`, are nothing to train heads on
        return next((bank.path for bank in banks if not bank.dataset.startswith(UNLABELLED)), banks[0].path)
    matches = [bank for bank in banks if bank.name == name] or [bank for bank in banks if bank.name.startswith(name)]
    if not matches:
        raise unknown_name("bank", name, [bank.name for bank in banks], "'featurebank cache ls' lists them")
    if len(matches) > 1:
        message = f"'{name}' is the beginning of {counted(len(matches), 'bank')}: " + ", ".join(
            bank.name for bank in matches
        )
        raise ConfigError(message)
    return matches[0].path


def recipe_differences(one: Manifest, other: Manifest) -> dict[str, tuple[Any, Any]]:
    """Returns the parts in which two recipes differ: {part: (one's, the other's)}."""
    first, second = dict(one.recipe), dict(other.recipe)
    parts = sorted(first.keys() | second.keys())
    return {part: (first.get(part), second.get(part)) for part in parts if first.get(part) != second.get(part)}


def remove_bank(path: Path) -> None:
    """Deletes a bank with its runs: first the manifest, so that a removal cut short leaves no bank.

    Works on a full disk too. Of links only the link goes, be it the bank itself, its runs or a shard.

    Raises:
        BankLockedError: a process writes the bank.
        BankNotFoundError: there is no bank.
    """
    if not (path / MANIFEST).is_file():
        message = f"no bank at '{path}': 'featurebank cache ls' lists the banks"
        raise BankNotFoundError(message)
    forget_use(path)
    if path.is_symlink():
        path.unlink()
    else:
        remove_directory(path)


def remove_directory(path: Path, *, unless_bank: bool = False) -> None:
    """Deletes the directory of a bank; who waits to write it finds nothing there, and begins anew.

    Args:
        path: the directory.
        unless_bank: leave it alone where it has a manifest by the time that it is locked.

    Raises:
        BankLockedError: a process writes the bank.
    """
    with WriterLock(path, freeing=True):
        if unless_bank and (path / MANIFEST).is_file():
            return
        (path / MANIFEST).unlink(missing_ok=True)
        for entry in path.iterdir():
            if entry.name not in {LOCK, NOTE}:
                linked = entry.is_symlink() or not entry.is_dir()
                entry.unlink(missing_ok=True) if linked else shutil.rmtree(entry)
        if os.name != "nt":  # there nobody can delete an open file; here the name goes while nobody else holds it
            (path / LOCK).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty any more: the next writer is there
        if os.name == "nt":
            (path / LOCK).unlink(missing_ok=True)
        path.rmdir()
