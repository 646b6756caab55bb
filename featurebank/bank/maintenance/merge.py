"""Merging, `cache merge`: several banks of one recipe become one, as when each machine has extracted some images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.bank.catalog import bank_path, recipe_differences
from featurebank.bank.items import Items
from featurebank.bank.maintenance.agreement import (
    Resplit,
    check_splits,
    different_views,
    labelled_differently,
    split_again,
    without_weights,
)
from featurebank.bank.maintenance.merged_groups import check_groups, merged_rule, split_keys
from featurebank.bank.maintenance.merged_images import join
from featurebank.bank.maintenance.sharing import share
from featurebank.bank.manifest import Manifest, load_items, load_manifest
from featurebank.bank.pages.corrections import CORRECTIONS, correction_record, read_corrections
from featurebank.bank.pages.roles import group_names, image_weights
from featurebank.bank.reader import Bank
from featurebank.bank.rows import StoredRows
from featurebank.bank.shard import read_keys
from featurebank.bank.writer import BankWriter, event
from featurebank.dataset.class_names import in_order
from featurebank.dataset.grouping.components import GROUP, GROUPS
from featurebank.dataset.splits import NO_LABEL
from featurebank.dataset.weights import WEIGHT
from featurebank.errors import BankDamagedError, ConfigError, DatasetWarning
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import counted

_MERGED = "merged:"
"""How the specification of several datasets begins; the ids of their images begin with the name of a dataset."""
_ROLES = ((WEIGHT, WEIGHT), (GROUPS, GROUP))
"""What a dataset's record says of columns that belong to an image as its label does, and the names of these columns."""


@dataclass(frozen=True)
class _MergedBank:
    path: Path
    manifest: Manifest
    items: Items | None
    """None if its first extraction has not finished; its rows are used all the same."""


def merge_banks(
    paths: Sequence[Path],
    cache: Path,
    *,
    name: str | None = None,
    resplit: Resplit | None = None,
    reporter: Reporter = SILENT,
) -> Bank:
    """Merges several banks of one recipe into one; they stay as they are, except one at the path of the result.

    If all are of one dataset (parts of its images, extracted in several places), each image keeps its id. Otherwise an
    id is prefixed by the name of its dataset, as "birds/a.jpg", and the classes of all banks are joined; images of a
    merged bank have such ids already. An image keeps its split; a content must not be in train in one bank and in test
    in another. An image that several banks hold is one row: its id in the dataset, content, label, split, weight and
    group are equal. So neither the order of the banks nor merging in several steps matters.

    Args:
        paths: the banks' directories, at least two.
        cache: directory of the result.
        name: dataset name of the result; by default the common name of the banks, else "merged".
        resplit: the new assignment of all images to splits; None keeps the splits.
        reporter: receives the progress.

    Returns:
        The merged bank: every image of every bank, with the taps and views that all of them have.

    Raises:
        ConfigError: there is only one bank, the recipes differ, there is no common tap, taps have different dtypes, an
            id stands for different images, labels or groups, a content or a group is in different splits, or only
            some of the banks have groups.
        BankDamagedError: a bank is damaged.
        BankLockedError: another process is writing the result.
        DiskFullError: no space is left on the disk; another run continues.
    """
    parts = [_part(path) for path in dict.fromkeys(path.resolve() for path in paths)]
    _check(parts)
    common = {part.manifest.dataset["spec"] for part in parts}
    one = len(common) == 1
    record = _record(parts, name, one=one)
    tables = [_relabelled(p, record["classes"], prefixed=not one, weighted=WEIGHT in record) for p in _whole(parts)]
    about: dict[str, Any] = {}
    grouped = GROUPS in record
    if resplit:
        tables, about = split_again(tables, resplit, split_keys(tables) if grouped else None)
        record |= {"fractions": list(resplit.fractions), "seed": resplit.seed}
    else:
        check_splits(tables, [part.path.name for part in _whole(parts)])
        if grouped:
            check_groups(tables)
        for line in different_views([part.manifest.dataset for part in parts]):
            reporter.warn(line, DatasetWarning)
    for line in without_weights({part.path.name: part.manifest.dataset for part in _whole(parts)}):
        reporter.warn(line, DatasetWarning)
    for line in labelled_differently(tables):
        reporter.warn(line, DatasetWarning)
    items = join(tables, [role for key, role in _ROLES if key in record], prefixed=_is_merged(record))
    if repeated := sum(map(len, tables)) - len(items):
        reporter.say(f"the images of these banks have {counted(repeated, 'repetition')}: an image is one row")
    first = parts[0].manifest
    taps = tuple(tap for tap in first.taps if all(tap in part.manifest.taps for part in _whole(parts)))
    views = min(part.manifest.views for part in _whole(parts))
    target = _target(cache, record["name"], first)
    with BankWriter(target, first.recipe, record, source=first.source, say=reporter.say) as to:
        rows = _link_all(parts, to, reporter)
        stored = StoredRows(target, replace(to.manifest, dataset=record, taps=taps, views=views), items)
        for tap in taps:
            stored.check(tap, views)
        listed = set(items.ids)
        skipped = [s for part in parts for s in part.manifest.skipped if s["id"] not in listed] if one else []
        to.finish(
            items, taps, skipped, event(merged=[part.path.name for part in parts], linked=rows, **about), views=views
        )
    return Bank(target)


def _target(cache: Path, name: str, first: Manifest) -> Path:
    """Returns the path of the result, which has to be inside the cache."""
    target = bank_path(cache, name, first.recipe)
    if target.is_symlink():
        message = f"'{target}' is a link to another place, where merge does not write: remove it, or use --name"
        raise ConfigError(message)
    return target


def _part(path: Path) -> _MergedBank:
    manifest = load_manifest(path)
    items = load_items(path, manifest) if manifest.items else None
    if items is not None:
        for role, check in ((GROUPS, group_names), (WEIGHT, image_weights)):
            if role in manifest.dataset:
                check(items, path)
    return _MergedBank(path, manifest, items)


def _whole(parts: Sequence[_MergedBank]) -> list[_MergedBank]:
    return [part for part in parts if part.items is not None]


def _check(parts: Sequence[_MergedBank]) -> None:
    if len(parts) < 2:  # noqa: PLR2004 - nothing to merge
        message = "there is only one bank to merge: expected two or more; 'featurebank cache ls' lists them"
        raise ConfigError(message)
    first = parts[0]
    for part in parts[1:]:
        if differs := recipe_differences(first.manifest, part.manifest):
            details = "; ".join(f"{name}: {one!r} and {other!r}" for name, (one, other) in differs.items())
            message = (
                f"'{first.path.name}' and '{part.path.name}' cannot be merged, because their recipes differ "
                f"({details}): extract with the same options first"
            )
            raise ConfigError(message)
    whole = _whole(parts)
    if not whole:
        message = "no extraction into these banks has finished: finish one of them first"
        raise ConfigError(message)
    if not set.intersection(*(set(part.manifest.taps) for part in whole)):
        details = "; ".join(f"{part.path.name}: {', '.join(part.manifest.taps)}" for part in whole)
        message = f"these banks have no tap in common ({details}): extract a common tap in all of them first"
        raise ConfigError(message)
    _check_types(parts)


def _check_types(parts: Sequence[_MergedBank]) -> None:
    types: dict[str, tuple[str, str]] = {}
    for part in parts:
        for shard in part.manifest.shards:
            for tap, stored in shard.taps.items():
                dtype, name = types.setdefault(tap, (stored.dtype, part.path.name))
                if dtype != stored.dtype:
                    message = (
                        f"tap '{tap}' is stored as {dtype} in '{name}' and as {stored.dtype} in '{part.path.name}': "
                        "extract one of them again with the other's --store"
                    )
                    raise ConfigError(message)


def _record(parts: Sequence[_MergedBank], name: str | None, *, one: bool) -> dict[str, Any]:
    records = [part.manifest.dataset for part in parts]
    names = list(dict.fromkeys(record["name"] for record in records))
    merged: dict[str, Any] = {
        **records[0],
        "classes": list(in_order(c for record in records for c in record["classes"])),
    }
    merged["name"] = name or (names[0] if len(names) == 1 else "merged")
    if not one:
        merged["spec"] = _MERGED + "+".join(sorted({name for record in records for name in _dataset_names(record)}))
    if len(names) > 1:
        merged["subset"] = {}
    if weights := [record[WEIGHT] for record in records if WEIGHT in record]:
        merged[WEIGHT] = weights[0]
    corrections = dict.fromkeys(one for record in records for one in read_corrections(record))
    if corrections:
        merged[CORRECTIONS] = correction_record(corrections)
    rule = merged_rule(records, [part.path.name for part in parts])
    return merged if rule is None else {**merged, GROUPS: rule}


def _is_merged(record: Mapping[str, Any]) -> bool:
    """Returns whether a record describes several datasets."""
    return str(record["spec"]).startswith(_MERGED)


def _dataset_names(record: Mapping[str, Any]) -> list[str]:
    """Returns the names of the datasets that a record describes."""
    return record["spec"].removeprefix(_MERGED).split("+") if _is_merged(record) else [record["name"]]


def _relabelled(part: _MergedBank, classes: Sequence[str], *, prefixed: bool, weighted: bool) -> Items:
    """Returns the items of a bank with labels that index the joined classes.

    Args:
        part: the bank.
        classes: the joined classes.
        prefixed: whether its ids begin with the name of its dataset.
        weighted: whether any of the banks has weights; the images of one without weigh 1.
    """
    assert part.items is not None, "parts without items have nothing to label"
    own: Mapping[str, Any] = part.manifest.dataset
    table = np.array([classes.index(name) for name in own["classes"]], np.int32)
    prefix = f"{own['name']}/" if prefixed and not _is_merged(own) else ""
    ids = [f"{prefix}{i}" for i in part.items.ids]
    metadata = dict(part.items.metadata)
    if weighted and WEIGHT not in own:
        metadata[WEIGHT] = np.ones(len(part.items))
    return Items(
        ids,
        part.items.digests,
        np.where(part.items.labels < 0, np.int32(NO_LABEL), table[part.items.labels]),
        part.items.splits,
        metadata,
    )


def _link_all(parts: Sequence[_MergedBank], to: BankWriter, reporter: Reporter) -> int:
    """Shares all shards that the result does not list yet; returns their number of rows."""
    rows, listed = 0, to.manifest.files
    shards = [(part.path, shard) for part in parts for shard in part.manifest.shards]
    with reporter.track("merge", sum(shard.bytes for _, shard in shards), "bytes") as advance:
        for path, shard in shards:
            if path != to.path.resolve() and shard.file not in listed:
                keys = read_keys(path, shard)
                if not share(path, to.path, shard):
                    message = f"'{path / shard.file}' is damaged: run its 'featurebank extract' again, then merge"
                    raise BankDamagedError(message)
                to.adopt([shard], [keys])
                listed.add(shard.file)
                rows += shard.rows
            advance(shard.bytes)
    return rows
