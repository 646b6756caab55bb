"""Verifies every byte of a cache; readers only check what they need in order never to return a wrong row."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from featurebank.bank.locks.claims import HOLDER
from featurebank.bank.locks.claims import NAME as CLAIMS
from featurebank.bank.locks.note import is_unsealed_note
from featurebank.bank.locks.writer_lock import LOCK, NOTE, WriterLock
from featurebank.bank.maintenance.unfinished import CHECKPOINT
from featurebank.bank.manifest import MANIFEST, TABLES, Manifest, load_manifest
from featurebank.bank.pages.item_table import check_item_file, check_items, item_files
from featurebank.bank.pages.page import is_whole_page
from featurebank.bank.pages.shard_pages import RowDigests, ShardPage
from featurebank.bank.run_record import check_run_record
from featurebank.bank.shard import PATTERN, ShardEntry, is_whole, read_keys
from featurebank.bank.writer import row_keys
from featurebank.errors import BankDamagedError, BankUnreadableError
from featurebank.system import digest
from featurebank.system.backing.directories import below, find, forget_copy, is_file, remove
from featurebank.system.backing.protocol import backing_of
from featurebank.system.backing.temporaries import TEMPORARY_PREFIX
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.sealed_json import is_whole_archive, read_sealed

_WEIGHTS = (".head", ".keras")
"""Suffixes of weights files, whose digests are in the records of their runs."""
_RECREATED = (".npz", ".outline")
"""Suffixes of files beside the banks that can be regenerated; the ledger of opened test images cannot."""
_REWRITTEN = "run the same 'featurebank extract' again, which rewrites it"
_AGAIN = "delete it: it is created again when it is needed"


@dataclass(frozen=True)
class Verification:
    """The result of verifying every byte."""

    shards: int
    """Number of shards that were verified."""
    bytes: int
    """Their total size."""
    damaged: tuple[str, ...]
    """One line for each file whose bytes have changed."""
    forgotten: tuple[str, ...] = ()
    """The shards that were removed from the bank."""
    unreadable: tuple[str, ...] = ()
    """One line for each file that the system cannot read; it may be intact."""
    unknown: tuple[str, ...] = ()
    """The files without a checksum: foreign ones, and checkpoints and notes of featurebank 0.1."""

    def __add__(self, other: Self) -> Self:
        """Returns the combined result."""
        return replace(
            self, shards=self.shards + other.shards, bytes=self.bytes + other.bytes,
            damaged=self.damaged + other.damaged, forgotten=self.forgotten + other.forgotten,
            unreadable=self.unreadable + other.unreadable, unknown=self.unknown + other.unknown,
        )  # fmt: skip


class _Unsealed(Exception):
    """A file has no checksum."""


def verify_bank(path: Path, *, forget: bool = False, reporter: Reporter = SILENT) -> Verification:
    """Verifies the checksums of all files of a bank: manifest, items, shards, runs, their weights and checkpoints.

    Args:
        path: the bank's directory.
        forget: remove damaged shards from the bank, so that the next extraction restores their rows.
        reporter: receives the progress.

    Raises:
        BankNotFoundError: there is no bank.
        BankDamagedError: the manifest itself is damaged, so that nothing else can be verified.
        BankUnreadableError: the system cannot read the manifest.
        BankLockedError: `forget` is set, and another process is writing the bank.
    """
    manifest = load_manifest(path, strict=True)
    findings, bad = _Findings(), list[ShardEntry]()
    size = sum(shard.bytes for shard in manifest.shards)
    with reporter.track("verify", size, "bytes") as advance:
        for shard in manifest.shards:
            if findings.is_damaged(path / shard.file, functools.partial(_check_shard, shard)):
                bad.append(shard)
            advance(shard.bytes)
    for page in manifest.pages:
        findings.is_damaged(path / page.entry.file, functools.partial(_check_page, page))
    if manifest.items is not None:
        items, classes = manifest.items, len(manifest.dataset["classes"]) or None
        files = [path / name for name in item_files(items)]
        damaged = [findings.is_damaged(file, lambda file: check_item_file(file, items)) for file in files]
        if not any(damaged):
            findings.is_damaged(files[0], lambda _: check_items(path, items, classes))
    weights = _recorded_weights(path / "runs")
    listed = {MANIFEST, *manifest.files}
    for file in _files(path):
        if file.name not in listed:
            findings.is_damaged(file, lambda file: _check(file, weights))
    if forget and bad:
        _forget(path, bad)
    return findings.verification(len(manifest.shards), size, [shard.file for shard in bad] if forget else [])


def verify_beside(cache: Path, *, forget: bool = False) -> Verification:
    """Verifies the checksums of the files beside the banks of a cache.

    These are converted networks, outlines, fingerprints, and the ledger of opened test images.

    Args:
        cache: the cache's directory.
        forget: delete damaged files that are created again when they are needed.
    """
    findings, banks = _Findings(), {place.parent for place in find(cache, f"*/{MANIFEST}")}
    bad = [file for file in _files(cache, banks) if findings.is_damaged(file, lambda file: _check(file, {}))]
    forgotten = [file for file in bad if forget and file.suffix in _RECREATED]
    for file in forgotten:
        remove(file)
    return findings.verification(0, 0, [file.name for file in forgotten])


class _Findings:
    """Collects the results of the checks."""

    def __init__(self) -> None:
        self._damaged, self._unreadable, self._unknown = list[str](), list[str](), list[str]()

    def is_damaged(self, file: Path, check: Callable[[Path], object]) -> bool:
        """Checks a file, records its problem, and returns whether it is damaged.

        If a bucket holds the file, damage of the local copy alone does not count: the file is fetched and checked anew.
        """
        try:
            try:
                check(file)
            except BankDamagedError:
                if not forget_copy(file):
                    raise
                check(file)
        except BankDamagedError as error:
            self._damaged.append(str(error))
            return True
        except _Unsealed:
            self._unknown.append(str(file))
        except BankUnreadableError as error:
            self._unreadable.append(str(error))
        except OSError as error:
            if is_file(file):  # else a run has finished meanwhile, or a writer has replaced the file
                self._unreadable.append(f"'{file}' cannot be read now: {error.strerror or error}; it may be intact")
        return False

    def verification(self, shards: int, size: int, forgotten: Sequence[str]) -> Verification:
        """Returns the overall result."""
        lines = (tuple(part) for part in (self._damaged, forgotten, self._unreadable, self._unknown))
        return Verification(shards, size, *lines)


def _files(path: Path, but: Collection[Path] = ()) -> Iterator[Path]:
    """Yields the files below a directory, except in some directories; temporary files are skipped."""
    if backing_of(path) is not None:
        files = sorted(file for file, _ in below(path))
        yield from (file for file in files if not any(folder in but for folder in file.parents))
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if Path(folder, name) not in but)
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith(TEMPORARY_PREFIX))


def _check_shard(shard: ShardEntry, file: Path) -> None:
    read_keys(file.parent, shard)
    if not is_whole(file.parent, shard):
        message = f"shard '{file}' is damaged: its bytes are not those that were written"
        raise BankDamagedError(message)


def _check_page(page: ShardPage, file: Path) -> None:
    """Compares every byte of a page with its checksum, and its digests with those of its shards."""
    _compare(is_whole_page(file.parent, page.entry), file, _REWRITTEN)
    digests_of = RowDigests(file.parent, [page])
    same = all(digest.of_array(row_keys(digests_of(shard), shard.view)) == shard.keys for shard in page.shards)
    _compare(same, file, _REWRITTEN)


def _recorded_weights(runs: Path) -> dict[str, str]:
    """Returns the digests of the weights files of all runs with a valid record."""
    digests = {}
    for file in find(runs, "*.json"):
        with contextlib.suppress(OSError, ValueError):  # the record itself is verified with the other files
            value = read_sealed(file)
            if value.get("weights"):
                digests[file.stem] = str(value["weights"])
    return digests


def _check(file: Path, weights: Mapping[str, str]) -> None:
    """Verifies a file that no manifest lists, wherever its checksum is stored.

    Raises:
        BankDamagedError: its bytes have changed.
        _Unsealed: it has no checksum.
        OSError: the system cannot read it.
    """
    run = file.parent.name == "runs"
    if file.name in {LOCK, CLAIMS}:
        if file.stat().st_size:
            raise _Unsealed
    elif any(file.match(pattern) for pattern in (PATTERN, *TABLES)):
        _compare(digest.of_file(file).startswith(file.stem.partition("-")[2]), file, "'cache gc' removes it")
    elif run and file.suffix in _WEIGHTS:
        if file.stem not in weights:
            raise _Unsealed
        _compare(digest.of_file(file) == weights[file.stem], file, "the run has to be trained again")
    elif file.suffix == ".images":
        _compare(digest.of_file(file) == file.stem, file, "it is unknown which test images were opened")
    elif file.suffix in {".npz", CHECKPOINT}:
        whole = is_whole_archive(file)
        if whole is None:
            raise _Unsealed
        _compare(whole, file, "the fine-tune starts anew" if file.suffix == CHECKPOINT else _AGAIN)
    elif file.suffix in {".json", ".outline", HOLDER}:
        _check_json(file, run=run and file.suffix == ".json")
    else:
        raise _Unsealed


def _compare(whole: bool, file: Path, remedy: str) -> None:  # noqa: FBT001 - the outcome of a comparison
    if not whole:
        message = f"'{file}' is damaged: its bytes are not those that were written; {remedy}"
        raise BankDamagedError(message)


def _check_json(file: Path, *, run: bool) -> None:
    try:
        value = read_sealed(file, strict=True)
        if run:
            check_run_record(value, file)
    except ValueError as error:
        reason = " ".join(str(error).split())
        if run:
            message = f"run '{file}' is damaged: {reason}; 'featurebank heads' trains it again"
        elif is_unsealed_note(file) or not _is_ours(file):
            raise _Unsealed from error
        else:
            message = f"'{file}' is damaged: {reason}; {_AGAIN}"
        raise BankDamagedError(message) from error


def _is_ours(file: Path) -> bool:
    """Returns whether featurebank writes JSON files of this name and place."""
    return file.suffix != ".json" or file.name == NOTE or file.parent.name.startswith(".")


def _forget(path: Path, bad: list[ShardEntry]) -> None:
    with WriterLock(path):
        manifest: Manifest = load_manifest(path)
        rest = replace(manifest, shards=tuple(shard for shard in manifest.shards if shard not in bad))
        rest.save(path)
        for name in {shard.file for shard in bad} | (manifest.tables - rest.tables):
            remove(path / name)
