"""`featurebank cache ls|show|verify|rm`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.settings import Settings, as_json, print_json

if TYPE_CHECKING:
    from featurebank.bank.manifest import Manifest


@click.group()
def cache() -> None:
    """Upkeep of the banks."""


@cache.command("ls")
@as_json
@click.pass_obj
def list_(settings: Settings, *, as_json: bool) -> None:
    """The banks of the cache, the last used first."""
    from featurebank.bank import list_banks
    from featurebank.cli.tables import print_table, size

    found = list_banks(settings.cache)
    if as_json:
        print_json([
            {
                "bank": str(b.path), "name": b.name, "dataset": b.dataset, "backbone": b.backbone, "images": b.images,
                "taps": list(b.taps), "bytes": b.bytes, "used": _moment(b.used), "problem": b.problem,
            }
            for b in found
        ])  # fmt: skip
        return
    if not found:
        click.echo(f"no bank in '{settings.cache}': make one with 'featurebank extract --backbone efficientnet_lite0'")
        return
    rows = [
        (
            b.name, "unreadable" if b.problem else "unfinished" if b.images is None else b.images, ", ".join(b.taps),
            size(b.bytes), _moment(b.used),
        )
        for b in found
    ]  # fmt: skip
    print_table(("bank", "images", "taps", "size", "last used"), rows, right=("images", "size"))
    for bank in found:
        if bank.problem:
            click.echo(f"warning: {bank.problem}", err=True)


@cache.command()
@click.argument("bank", required=False)
@click.option("--than", metavar="BANK", help="Also tell in what the recipe differs from this bank's.")
@as_json
@click.pass_obj
def show(settings: Settings, bank: str | None, than: str | None, *, as_json: bool) -> None:
    """What a bank holds, how it was made, and in what it differs from another."""
    from featurebank.bank.manifest import load_manifest
    from featurebank.bank.upkeep import find_bank_path, recipe_differences

    path = find_bank_path(settings.cache, bank)
    manifest = load_manifest(path)
    differs = None
    if than:
        differs = recipe_differences(manifest, load_manifest(find_bank_path(settings.cache, than)))
    about = _about(path, manifest)
    if as_json:
        print_json({**about, **({} if differs is None else {"differs": differs})})
    else:
        _print_about(about, differs)


@cache.command()
@click.argument("bank", required=False)
@click.option("--forget", is_flag=True, help="Take damaged shards out; the next extract makes their rows again.")
@as_json
@click.pass_obj
def verify(settings: Settings, bank: str | None, *, forget: bool, as_json: bool) -> None:
    """Compare every byte of a bank with its checksums; exits with 1 if any differs."""
    from dataclasses import asdict

    from featurebank.bank.upkeep import find_bank_path
    from featurebank.bank.verify import verify_bank
    from featurebank.cli.tables import size

    path = find_bank_path(settings.cache, bank)
    found = verify_bank(path, forget=forget, reporter=settings.reporter())
    if as_json:
        print_json({"bank": str(path), **asdict(found)})
    else:
        for line in found.damaged:
            click.echo(line)
        if found.forgotten:
            click.echo(
                f"{len(found.forgotten)} shards taken out: run 'featurebank extract' as before to make their rows"
            )
        click.echo(f"{path}: {found.shards} shards, {size(found.bytes)}, {len(found.damaged)} files damaged")
    if found.damaged:
        sys.exit(1)


@cache.command("rm")
@click.argument("bank")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def remove(settings: Settings, bank: str, *, yes: bool) -> None:
    """Delete a bank with its runs."""
    from featurebank.bank.upkeep import find_bank_path, remove_bank

    path = find_bank_path(settings.cache, bank)
    if not yes:
        click.confirm(f"delete '{path}' with its features and runs?", abort=True)
    remove_bank(path)
    click.echo(f"deleted {path}")


def _about(path: Path, manifest: Manifest) -> dict[str, Any]:
    from featurebank.bank.lock import read_holder

    return {
        "bank": str(path), "key": manifest.key, "recipe": dict(manifest.recipe), "dataset": dict(manifest.dataset),
        "images": manifest.items["count"] if manifest.items else None,
        "rows": sum(shard.rows for shard in manifest.shards), "taps": list(manifest.taps),
        "shards": [{"file": s.file, "rows": s.rows, "bytes": s.bytes, "taps": sorted(s.taps)} for s in manifest.shards],
        "skipped": [dict(entry) for entry in manifest.skipped], "history": [dict(entry) for entry in manifest.history],
        "writer": read_holder(path),
    }  # fmt: skip


def _print_about(about: dict[str, Any], differs: dict[str, Any] | None) -> None:
    from featurebank.cli.tables import print_table, size

    dataset = about["dataset"]
    images = "extraction has not ended yet" if about["images"] is None else f"{about['images']} images"
    click.echo(f"{about['bank']}: {images}, {len(dataset['classes'])} classes, taps {', '.join(about['taps']) or '-'}")
    part = "".join(f", {name} {value}" for name, value in dataset.get("subset", {}).items())
    click.echo(f"dataset {dataset['spec']}{part}, split {dataset['fractions']} by seed {dataset['seed']}")
    print_table(("part of the recipe", "value"), [(name, str(value)) for name, value in about["recipe"].items()])
    rows = [(s["file"], s["rows"], size(s["bytes"]), ", ".join(s["taps"])) for s in about["shards"]]
    print_table(("shard", "rows", "size", "taps"), rows, right=("rows", "size"))
    for event in about["history"]:
        click.echo(f"{event['time']}: {event['added']} images in {event['seconds']} s by {event['engine']}")
    for entry in about["skipped"]:
        click.echo(f"skipped {entry['id']}: {entry['reason']}")
    if about["writer"]:
        click.echo(f"being written by process {about['writer']['process']} on {about['writer']['host']}")
    if differs is not None:
        click.echo("the recipes differ in:" if differs else "the recipes are the same")
        if differs:
            parts = [(name, str(one), str(other)) for name, (one, other) in differs.items()]
            print_table(("part", "this bank", "the other"), parts)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
