"""The shards of a bank on the disk."""

from __future__ import annotations

from pathlib import Path


def shards(bank: Path) -> dict[str, bytes]:
    """The shards of a bank, listed or not: the bytes of each file."""
    return {path.name: path.read_bytes() for path in bank.glob("shard-*.h5")}
