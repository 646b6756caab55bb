"""Measures a large bank: opening it, listing it, reading it, and adding a shard to it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale.child import measure
from benchmarks.scale.made import TAP, MadeRows
from featurebank.bank.manifest import load_manifest
from featurebank.bank.shard import PATTERN

_LISTED = 64
"""Pieces of a large listing, to tell the cost of a listing from that of a piece."""


def measured_bank(bank: Path, directory: Path) -> dict[str, Any]:
    """Measures a made bank, which is not changed, each in a process of its own.

    Args:
        bank: the bank's directory.
        directory: where a second bank of hard links is made, on the same disk.

    Returns:
        `rows`, `width`, `dtype`, `table_bytes` (the bytes of all files but shards), and the results of `open_bank`,
        `list_cache`, `read_pass` and `add_shards`, by these names.
    """
    twin = directory / "cache" / bank.name
    link_bank(bank, twin)
    recipe = load_manifest(bank).recipe
    return {
        "rows": recipe["rows"], "width": recipe["width"], "dtype": recipe["dtype"],
        "table_bytes": sum(file.stat().st_size for file in bank.rglob("*") if not file.match(PATTERN)),
        "open_bank": measure("banks:open_bank", bank=str(bank)),
        "list_cache": measure("banks:list_cache", cache=str(twin.parent)),
        "read_pass": measure("banks:read_pass", bank=str(bank)),
        "add_shards": measure("banks:add_shards", bank=str(twin)),
    }  # fmt: skip


def link_bank(bank: Path, twin: Path) -> None:
    """Makes a bank of hard links; writing to it does not change the other, because files are replaced as a whole."""

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # another disk
            shutil.copy2(source, target)

    shutil.copytree(bank, twin, copy_function=link, ignore=shutil.ignore_patterns(".writer.lock", "writer.json"))


def open_bank(bank: str) -> dict[str, Any]:
    """Opens a bank, and reads its first megabyte of features."""
    from featurebank.bank import Bank

    began = time.perf_counter()
    opened = Bank(bank)
    done = time.perf_counter()
    next(iter(opened.blocks(TAP, block_bytes=1 << 20)))
    return {
        "rows": len(opened), "shards": len(opened.manifest.shards), "seconds": done - began,
        "first_block_seconds": time.perf_counter() - done,
    }  # fmt: skip


def list_cache(cache: str) -> dict[str, Any]:
    """Lists the banks of a cache, as `featurebank cache ls` does."""
    from featurebank.bank import banks_of

    began = time.perf_counter()
    (bank,) = banks_of(Path(cache))
    return {"seconds": time.perf_counter() - began, "rows": bank.rows}


def read_pass(bank: str) -> dict[str, Any]:
    """Reads all features once, in blocks."""
    from featurebank.bank import Bank

    opened, rows = Bank(bank), 0
    began = time.perf_counter()
    for block in opened.blocks(TAP, block_bytes=64 << 20):
        rows += len(block.labels)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "rows": rows, "bytes_per_second": opened.tap_bytes(TAP) / seconds}


def add_shards(bank: str) -> dict[str, Any]:
    """Lists a further shard, and then 64 at once, as the client of a cluster does with finished pieces."""
    from featurebank.bank.shard import write_shard
    from featurebank.bank.writer import BankWriter, row_keys

    path = Path(bank)
    manifest = load_manifest(path)
    recipe = manifest.recipe
    made = MadeRows(256 * (1 + _LISTED), recipe["width"], recipe["dtype"], recipe["classes"])
    began = time.perf_counter()
    with BankWriter(path, recipe, manifest.dataset) as writer:
        opened = time.perf_counter() - began
        keys, entries = [], []
        for part in np.split(np.arange(made.rows), 1 + _LISTED):
            digests = np.array([f"{number:032x}" for number in part], "S32")
            keys.append(row_keys(digests))
            entries.append(write_shard(path, keys[-1], {TAP: [np.zeros((len(part), made.width), made.dtype)]}))
        before = _files(path)
        one = _timed(lambda: writer.adopt(entries[:1], keys[:1]))
        rewritten = _new_bytes(before, _files(path))
        many = _timed(lambda: writer.adopt(entries[1:], keys[1:]))
    return {
        "shards": len(manifest.shards), "open_seconds": opened, "rewritten_bytes": rewritten, "listing_seconds": one,
        "listing_seconds_a_piece": max(0.0, (many - one) / (_LISTED - 1)),
    }  # fmt: skip


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _files(path: Path) -> dict[str, tuple[int, int, int]]:
    states = {file.relative_to(path).as_posix(): file.stat() for file in path.rglob("*") if file.is_file()}
    return {name: (state.st_ino, state.st_mtime_ns, state.st_size) for name, state in states.items()}


def _new_bytes(before: dict[str, tuple[int, int, int]], after: dict[str, tuple[int, int, int]]) -> int:
    return sum(state[-1] for name, state in after.items() if before.get(name) != state)
