"""`featurebank cache verify|gc`."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.terminal import echo, print_json, shown_path

if TYPE_CHECKING:
    from featurebank.bank.maintenance.garbage import Garbage
    from featurebank.bank.maintenance.verify import Verification
    from featurebank.extraction.recompute import RecomputedRows
    from featurebank.system.progress import Reporter


_NAMED = 3
"""Maximum number of files without a checksum that are named."""


@click.command()
@click.argument("bank", required=False)
@click.option(
    "--forget", is_flag=True, help="Remove damaged shards from the bank; the next extract computes their rows again."
)
@click.option(
    "--canaries",
    type=int,
    default=4,
    show_default=True,
    metavar="N",
    help="Number of rows to recompute from their images and compare.",
)
@as_json
@click.pass_obj
def verify(settings: Settings, bank: str | None, *, forget: bool, canaries: int, as_json: bool) -> None:
    """Check banks: compare every byte with its checksum.

    Without BANK, check all banks and the other files of the cache. Also recompute a few rows of the bank (without BANK,
    of the last used one) and compare them. The exit code is 1 if anything differs.
    """
    from featurebank.bank import banks_of
    from featurebank.bank.catalog import find_bank_path
    from featurebank.bank.maintenance.verify import verify_beside

    reporter = settings.reporter()
    path = find_bank_path(settings.cache, bank)
    results = _verify_each([path] if bank else [one.path for one in banks_of(settings.cache)], forget, reporter)
    if not bank:
        results[settings.cache] = verify_beside(settings.cache, forget=forget)
    total = functools.reduce(operator.add, results.values())
    recomputed = None
    if canaries > 0 and not (total.damaged or total.unreadable):  # damaged rows certainly differ
        recomputed = _recompute(path, canaries, reporter)
    if as_json:
        banks = {shown_path(place): len(one.damaged) for place, one in results.items()}
        rows = asdict(recomputed) if recomputed else None
        print_json({"bank": shown_path(path), **asdict(total), "canaries": rows, "damaged_in": banks})
    else:
        _print_verification(results, recomputed, settings.cache)
    if total.damaged or total.unreadable or (recomputed and recomputed.wrong):
        sys.exit(1)


def _verify_each(paths: Sequence[Path], forget: bool, reporter: Reporter) -> dict[Path, Verification]:  # noqa: FBT001
    """Verifies each bank, also after a bank whose manifest is damaged."""
    from featurebank.bank.maintenance.verify import Verification, verify_bank
    from featurebank.errors import BankDamagedError, BankUnreadableError

    results = {}
    for path in paths:
        try:
            results[path] = verify_bank(path, forget=forget, reporter=reporter)
        except BankDamagedError as error:
            results[path] = Verification(0, 0, (str(error),))
        except BankUnreadableError as error:
            results[path] = Verification(0, 0, (), unreadable=(str(error),))
    return results


def _recompute(path: Path, rows: int, reporter: Reporter) -> RecomputedRows:
    from featurebank.bank import Bank
    from featurebank.errors import BankIncompleteError
    from featurebank.extraction.recompute import RecomputedRows, check_recomputed_rows

    try:
        return check_recomputed_rows(Bank(path), rows=rows, reporter=reporter)
    except BankIncompleteError as error:
        return RecomputedRows(0, 0.0, reason=str(error))


def _print_verification(results: dict[Path, Verification], recomputed: RecomputedRows | None, cache: Path) -> None:
    from featurebank.cli.tables import size
    from featurebank.words import counted

    total = functools.reduce(operator.add, results.values())
    for line in [*total.damaged, *total.unreadable, *(recomputed.wrong if recomputed else ())]:
        echo(line)
    if total.forgotten:
        forgotten = counted(len(total.forgotten), "file")
        echo(f"{forgotten} removed: run 'featurebank extract' as before to compute the missing rows again")
    for path, one in results.items():
        what = "files outside the banks" if path == cache else f"{counted(one.shards, 'shard')}, {size(one.bytes)}"
        echo(f"{shown_path(path)}: {what}, {counted(len(one.damaged), 'file')} damaged")
    if total.unknown:
        more = ", ..." if len(total.unknown) > _NAMED else ""
        shown = ", ".join(total.unknown[:_NAMED])
        echo(f"without a checksum: {counted(len(total.unknown), 'file')} ({shown}{more})")
    if recomputed and recomputed.reason:
        echo(f"no rows recomputed: {recomputed.reason}")
    elif recomputed:
        verdict = f"{len(recomputed.wrong)} of them differ" if recomputed.wrong else "all match"
        echo(
            f"{counted(recomputed.rows, 'row')} recomputed, {verdict} (largest difference {recomputed.difference:.1e})"
        )


@click.command()
@click.argument("bank", required=False)
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and stop.")
@click.option("--downloads", is_flag=True, help="Also remove the images that were downloaded from URLs.")
@as_json
@click.pass_obj
def gc(settings: Settings, bank: str | None, *, dry_run: bool, downloads: bool, as_json: bool) -> None:
    """Remove files and rows that no bank needs.

    These are files that dead processes left behind, unlisted shards, and rows of deleted images. Without BANK, clean
    all banks of the cache.
    """
    from featurebank.bank.catalog import bank_directories, find_bank_path
    from featurebank.bank.maintenance.garbage import collect, plan_gc
    from featurebank.errors import BankError, DiskFullError

    paths = [find_bank_path(settings.cache, bank)] if bank else bank_directories(settings.cache)
    garbages: list[Garbage] = []
    problems: list[str] = []
    full = False
    for path in paths:
        try:
            garbages.append(plan_gc(path) if dry_run else collect(path, reporter=settings.reporter()))
        except (BankError, DiskFullError) as error:  # the other banks can still be cleaned
            problems.append(str(error))
            full = full or isinstance(error, DiskFullError)
    images, size = _remove_downloads(dry_run=dry_run) if downloads else (0, 0)
    if as_json:
        print_json({
            "banks": [_to_json(garbage) for garbage in garbages if garbage], "problems": problems,
            "downloads": {"images": images, "bytes": size},
        })  # fmt: skip
    else:
        _print_garbage(garbages, problems, images, size, dry_run=dry_run)
    if full or (problems and bank):
        sys.exit(1)


def _remove_downloads(*, dry_run: bool) -> tuple[int, int]:
    """Removes all downloaded images; returns their number and size."""
    from featurebank.dataset.remote.image_store import forget_images, total_size

    size = total_size()
    if not dry_run:
        forget_images()
    return size


def _to_json(garbage: Garbage) -> dict[str, Any]:
    return {
        "bank": shown_path(garbage.bank), "files": [str(file) for file in garbage.files], "rows": garbage.dead_rows,
        "rewritten_shards": len(garbage.rewrites), "whole": garbage.whole, "bytes": garbage.bytes,
    }  # fmt: skip


def _print_garbage(
    garbages: list[Garbage], problems: list[str], images: int, image_bytes: int, *, dry_run: bool
) -> None:  # fmt: skip
    from featurebank.cli.tables import size
    from featurebank.words import counted

    for garbage in garbages:
        if garbage.whole:
            echo(f"{garbage.bank.name}: remains of a deleted bank, {size(garbage.bytes)}")
        elif garbage:
            echo(
                f"{garbage.bank.name}: {counted(len(garbage.files), 'unlisted file')}, "
                f"{counted(garbage.dead_rows, 'unneeded row')}, "
                f"{counted(len(garbage.rewrites), 'shard')} {'to rewrite' if dry_run else 'rewritten'}, "
                f"{size(garbage.bytes)}"
            )
    for line in problems:
        echo(f"skipped: {line}", err=True)
    if images:
        echo(f"{counted(images, 'downloaded image')}, {size(image_bytes)}")
    total = size(sum(garbage.bytes for garbage in garbages) + image_bytes)
    echo(f"{total} {'could be freed' if dry_run else 'freed'}")
