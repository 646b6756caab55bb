"""`featurebank cache ls|show|rm|export`; `verifying` has `verify` and `gc`, `joining` `merge` and `finish`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.upkeep.joining import finish, merge, unlisted_pieces
from featurebank.cli.commands.upkeep.verifying import gc, verify
from featurebank.cli.context import Settings, as_json
from featurebank.cli.groups import Commands
from featurebank.cli.options import choose_bank, open_bank
from featurebank.cli.terminal import confirm, echo, print_json, shown_path
from featurebank.words import counted, shown

if TYPE_CHECKING:
    from featurebank.bank.catalog import BankSummary
    from featurebank.bank.manifest import Manifest

_SHOWN = 20
"""Maximum number of shards that are listed one by one."""


@click.group(cls=Commands)
def cache() -> None:
    """List, check, merge and delete banks."""


cache.add_command(verify)
cache.add_command(gc)
cache.add_command(finish)
cache.add_command(merge)


@cache.command("ls")
@as_json
@click.pass_obj
def list_(settings: Settings, *, as_json: bool) -> None:
    """List the banks of the cache, the last used one first."""
    from featurebank.bank import banks_of

    banks = {bank: _runs(bank) for bank in banks_of(settings.cache)}
    if as_json:
        print_json([
            {
                "bank": shown_path(b.path), "name": b.name, "dataset": b.dataset, "backbone": b.backbone,
                "images": b.images, "pixels": b.pixels, "views": b.views, "rows": b.rows, "runs": runs, "best": best,
                "taps": list(b.taps), "bytes": b.bytes, "used": _moment(b.used), "problem": b.problem,
                "pieces": b.pieces,
            }
            for b, (runs, best) in banks.items()
        ])  # fmt: skip
        return
    _print_downloads()
    if not banks:
        echo(
            f"no bank in '{shown_path(settings.cache)}': create one with 'featurebank extract --backbone "
            "efficientnet_lite0'"
        )
        return
    _print_banks(banks)
    for bank in banks:
        if bank.pieces:
            echo(f"{bank.name}: {unlisted_pieces(bank.pieces, bank.name)}")
    for bank in banks:
        if bank.problem:
            echo(f"warning: {bank.problem}", err=True)


def _print_downloads() -> None:
    """Prints how much space the downloaded images take, if there are any."""
    from featurebank.cli.tables import size
    from featurebank.dataset.remote.image_store import downloads_directory, total_size

    images, space = total_size()
    if images:
        where = f"{counted(images, 'downloaded image')} in '{downloads_directory()}', {size(space)}"
        echo(f"{where}: 'featurebank cache gc --downloads' removes them")


def _runs(bank: BankSummary) -> tuple[int, float | None]:
    """Returns the number of runs of a bank, and the best validation accuracy on its own split."""
    from featurebank.bank import Bank
    from featurebank.errors import BankError
    from featurebank.runs.ranking import best_value
    from featurebank.runs.run import load_runs

    if bank.problem or bank.images is None:
        return 0, None
    try:
        runs = load_runs(Bank(bank.path))
    except BankError as error:
        echo(f"warning: {error}", err=True)
        return 0, None
    return len(runs), best_value(runs)


def _print_banks(banks: Mapping[BankSummary, tuple[int, float | None]]) -> None:
    """Prints one line per bank; on a narrow terminal without taps, rows and times, and with short names."""
    from featurebank.cli.tables import fitting_columns, print_table, size

    cells = {
        "bank": [bank.name for bank in banks],
        "images": ["unreadable" if b.problem else "unfinished" if b.images is None else str(b.images) for b in banks],
        "px": [str(bank.pixels or "-") for bank in banks],
        "views": [str(bank.views) for bank in banks],
        "rows": [str(bank.rows) for bank in banks],
        "taps": [", ".join(bank.taps) for bank in banks],
        "runs": [str(runs) for runs, _ in banks.values()],
        "best": ["-" if best is None else f"{best:.4f}" for _, best in banks.values()],
        "size": [size(bank.bytes) for bank in banks],
        "last used": [_moment(bank.used) for bank in banks],
    }
    leave = ("taps", "rows", "last used")
    if len(fitting_columns(cells, "taps", leave)) < len(cells) - 1:
        cells["bank"] = _short_names(cells["bank"])
    names = fitting_columns(cells, "taps", (*leave, "size"))
    right = [name for name in names if name not in {"bank", "taps", "last used"}]
    print_table(names, list(zip(*(cells[name] for name in names), strict=True)), right=right, whole=("last used",))


def _short_names(names: list[str]) -> list[str]:
    """Returns the shortest unique prefix of each name that has at least four digits of its digest."""
    short = []
    for name in names:
        stem, _, digits = name.rpartition("-")
        digit_count = next(
            (n for n in range(4, len(digits)) if sum(o.startswith(f"{stem}-{digits[:n]}") for o in names) == 1), None
        )  # fmt: skip
        short.append(name if not stem or digit_count is None else f"{stem}-{digits[:digit_count]}")
    return short


@cache.command()
@click.argument("bank", required=False)
@click.option("--than", metavar="BANK", help="Also list the differences from the recipe of BANK.")
@as_json
@click.pass_obj
def show(settings: Settings, bank: str | None, than: str | None, *, as_json: bool) -> None:
    """Show the contents and the history of a bank.

    Without BANK, show the last used one.
    """
    from featurebank.bank.catalog import find_bank_path, recipe_differences
    from featurebank.bank.manifest import load_manifest

    path = choose_bank(settings, bank)
    manifest = load_manifest(path)
    differs = None
    if than:
        differs = recipe_differences(manifest, load_manifest(find_bank_path(settings.cache, than)))
    about = _about(path, manifest)
    if as_json:
        print_json({**about, **({} if differs is None else {"differs": differs})})
    else:
        _print_about(about, differs)


@cache.command("rm")
@click.argument("bank")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@click.pass_obj
def remove(settings: Settings, bank: str, *, yes: bool) -> None:
    """Delete a bank and its runs."""
    from featurebank.bank.catalog import find_bank_path, remove_bank

    path = find_bank_path(settings.cache, bank)
    if not yes and not confirm(f"delete '{shown_path(path)}' with its features and runs?"):
        echo("nothing was deleted")
        return
    remove_bank(path)
    echo(f"deleted {shown_path(path)}")


@cache.command()
@click.argument("bank", required=False)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="File to write: .h5 or .npz."
)
@click.option("--tap", metavar="TAP", help="Features to write.  [default: pooled, or the bank's first tap]")
@click.option(
    "--view", type=int, default=0, show_default=True, metavar="N", help="View to write; 0 is the clean image."
)
@click.pass_obj
def export(settings: Settings, bank: str | None, output: Path, tap: str | None, view: int) -> None:
    """Write features and labels to a plain HDF5 or NumPy file."""
    from featurebank.cli.tables import size
    from featurebank.grid import default_tap

    writers = {".h5": "to_hdf5", ".hdf5": "to_hdf5", ".npz": "to_npz"}
    if output.suffix.lower() not in writers:
        message = f"-o {output}: expected a file name that ends with .h5, .hdf5 or .npz"
        raise click.UsageError(message)
    source = open_bank(settings, bank)
    name = tap or default_tap(source)
    path = getattr(source, writers[output.suffix.lower()])(output, name, view=view)
    echo(f"{path}: tap {name} of {counted(len(source), 'image')}, {size(path.stat().st_size)}")


def _about(path: Path, manifest: Manifest) -> dict[str, Any]:
    from featurebank.bank.locks.writer_lock import read_holder
    from featurebank.bank.pieces.notes import note_files

    return {
        "bank": shown_path(path), "format_version": manifest.version, "key": manifest.key,
        "recipe": dict(manifest.recipe), "dataset": dict(manifest.dataset), "source": dict(manifest.source),
        "images": manifest.items["count"] if manifest.items else None,
        "rows": sum(shard.rows for shard in manifest.shards), "taps": list(manifest.taps), "views": manifest.views,
        "shards": [
            {"file": s.file, "rows": s.rows, "bytes": s.bytes, "view": s.view, "taps": sorted(s.taps)}
            for s in manifest.shards
        ],
        "skipped": [dict(entry) for entry in manifest.skipped], "history": [dict(entry) for entry in manifest.history],
        "writer": read_holder(path), "pieces": sum(1 for _ in note_files(path)),
    }  # fmt: skip


def _print_about(about: dict[str, Any], differs: dict[str, Any] | None) -> None:
    from featurebank.cli.tables import print_table, size

    dataset = about["dataset"]
    images = "extraction is not finished" if about["images"] is None else counted(about["images"], "image")
    views = f", {counted(about['views'], 'view')}" if about["views"] else ""
    taps = ", ".join(about["taps"]) or "-"
    classes = counted(len(dataset["classes"]), "class")
    echo(f"{about['bank']}: {images}, {classes}, taps {taps}{views}, format version {about['format_version']}")
    part = "".join(f", {name} {value}" for name, value in dataset.get("subset", {}).items())
    roles = "".join(f", {key.removesuffix('s')}s by '{dataset[key]}'" for key in ("groups", "weight") if key in dataset)
    echo(f"dataset {dataset['spec']}{part}, split {dataset['fractions']} by seed {dataset['seed']}{roles}")
    print_table(("part of the recipe", "value"), [(name, str(value)) for name, value in about["recipe"].items()])
    rows = [(s["file"], s["rows"], size(s["bytes"]), s["view"], ", ".join(s["taps"])) for s in about["shards"][:_SHOWN]]
    print_table(("shard", "rows", "size", "view", "taps"), rows, right=("rows", "size", "view"))
    if len(about["shards"]) > _SHOWN:
        total = size(sum(s["bytes"] for s in about["shards"]))
        echo(f"and {counted(len(about['shards']) - _SHOWN, 'more shard')}, {total} together")
    for event in about["history"]:
        echo(f"{event.get('time', '?')}: {_event_text(event)}")
    for entry in about["skipped"]:
        echo(f"skipped {entry['id']}: {entry['reason']}")
    if about["pieces"]:
        echo(unlisted_pieces(about["pieces"], Path(about["bank"]).name))
    if about["writer"]:
        echo(f"currently written by process {about['writer']['process']} on {about['writer']['host']}")
    if differs is not None:
        echo("the recipes differ in:" if differs else "the recipes are the same")
        if differs:
            parts = [(name, str(one), str(other)) for name, (one, other) in differs.items()]
            print_table(("part", "this bank", "other bank"), parts)


def _event_text(event: dict[str, Any]) -> str:
    """Describes an event of the bank's history."""
    try:
        if "added" in event:
            return f"{counted(event['added'], 'image')} in {event['seconds']} s by {event['engine']}"
        if "merged" in event:
            again = event.get("resplit")
            splits = f", new splits by seed {again['seed']}" if again else ""
            return f"{counted(event['linked'], 'row')} merged from {', '.join(event['merged'])}{splits}"
        if "relabelled" in event:
            return f"{counted(event['relabelled'], 'image')} relabelled by 'advise --apply'"
        if "linked" in event:
            return f"{counted(event['linked'], 'row')} shared with {event['source']}"
        rewritten = counted(event["rewritten_shards"], "shard")
        return f"{counted(event['removed_rows'], 'row')} deleted by a clean-up, {rewritten} rewritten"
    except (LookupError, TypeError):  # written by a newer featurebank
        return shown(event)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
