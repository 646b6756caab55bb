"""Looking at every byte of a bank: the readers only check what they need to never give a wrong row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from featurebank import digest
from featurebank.bank.lock import WriterLock
from featurebank.bank.manifest import Manifest, load_items, load_manifest
from featurebank.bank.sealed import read_sealed
from featurebank.bank.shard import ShardEntry, read_keys
from featurebank.errors import BankDamagedError
from featurebank.progress import SILENT, Reporter


@dataclass(frozen=True)
class Verification:
    """What a look at every byte found."""

    shards: int
    """How many were looked at."""
    bytes: int
    """How long they are together."""
    damaged: tuple[str, ...]
    """One line for each file that is not what was written."""
    forgotten: tuple[str, ...] = ()
    """The shards taken out of the bank."""


def verify_bank(path: Path, *, forget: bool = False, reporter: Reporter = SILENT) -> Verification:
    """Compares every file of a bank with its checksum: manifest, table of items, shards, runs and their weights.

    Args:
        path: the bank's directory.
        forget: take damaged shards out of the bank, so that the next extraction makes their rows again.
        reporter: where progress is shown.

    Raises:
        BankNotFoundError: there is no bank.
        BankDamagedError: the manifest itself is damaged, so that nothing else can be checked.
        BankLockedError: `forget`, and another process writes the bank.
    """
    manifest = load_manifest(path, strict=True)
    damaged: list[str] = []
    bad: list[ShardEntry] = []
    with reporter.track("verify", sum(shard.bytes for shard in manifest.shards), "bytes") as advance:
        for shard in manifest.shards:
            if problem := _problem(path, shard):
                damaged.append(problem)
                bad.append(shard)
            advance(shard.bytes)
    if manifest.items is not None:
        try:
            load_items(path, manifest)
        except BankDamagedError as error:
            damaged.append(str(error))
    damaged += _damaged_runs(path / "runs")
    if forget and bad:
        _forget(path, bad)
    size = sum(shard.bytes for shard in manifest.shards)
    return Verification(
        len(manifest.shards), size, tuple(damaged), tuple(shard.file for shard in bad) if forget else ()
    )


def _problem(directory: Path, shard: ShardEntry) -> str | None:
    try:
        read_keys(directory, shard)
        if digest.of_file(directory / shard.file) == shard.checksum:
            return None
    except (BankDamagedError, OSError) as error:
        return str(error)
    return f"shard '{directory / shard.file}' is damaged: its bytes are not those that were written"


def _damaged_runs(directory: Path) -> Iterator[str]:
    """Yields a line for each record of a run and each file of weights that is not what was written."""
    weights = {}
    for path in sorted(directory.glob("*.json")):
        try:
            weights[path.stem] = read_sealed(path, strict=True).get("weights")
        except (OSError, ValueError) as error:
            yield f"run '{path}' is damaged: {' '.join(str(error).split())}; 'featurebank heads' trains it again"
    for path in sorted(directory.glob("*.head")):
        if (known := weights.get(path.stem)) and digest.of_file(path) != known:
            yield f"weights '{path}' are damaged: their bytes are not those that were written; they are trained again"


def _forget(path: Path, bad: list[ShardEntry]) -> None:
    with WriterLock(path):
        manifest: Manifest = load_manifest(path)
        replace(manifest, shards=tuple(shard for shard in manifest.shards if shard not in bad)).save(path)
        for shard in bad:
            (path / shard.file).unlink(missing_ok=True)
