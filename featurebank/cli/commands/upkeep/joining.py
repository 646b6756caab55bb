"""`featurebank cache merge|finish`: what several processes or machines have computed becomes one bank."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import split_fractions
from featurebank.cli.terminal import echo, print_json, shown_path
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.bank.maintenance.agreement import Resplit
    from featurebank.extraction.pieces.listing import ListedPieces


def unlisted_pieces(count: int, bank: str) -> str:
    """Returns a line about the finished pieces of a bank that are not listed yet."""
    return f"{counted(count, 'finished piece')} not listed yet: 'featurebank cache finish {bank}' lists them"


@click.command()
@click.argument("banks", nargs=-1, required=True)
@click.option(
    "--name", metavar="NAME",
    help="Name of the result.  [default: the dataset's name if all banks have the same dataset, otherwise merged]",
)  # fmt: skip
@click.option("--seed", type=int, metavar="N", help="Split all images again, by their content and this seed.")
@click.option(
    "--split", callback=split_fractions, metavar="TRAIN,VAL[,TEST]",
    help="Fractions of the new splits.  [default: .7,.15,.15]",
)  # fmt: skip
@as_json
@click.pass_obj
def merge(
    settings: Settings, banks: tuple[str, ...], name: str | None, seed: int | None, split: list[float] | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    """Merge banks of one recipe, such as parts from several machines.

    BANKS are names, or paths of banks in other caches. Their files are hard-linked if the disk allows it, otherwise
    copied. Images keep their splits. If an image is in train in one bank and in test in another, --seed is needed.
    """
    from featurebank.bank.catalog import find_bank_path
    from featurebank.bank.maintenance.merge import merge_banks

    paths = [find_bank_path(settings.cache, bank) for bank in banks]
    resplit = None if seed is None and split is None else _resplit(split, seed or 0)
    merged = merge_banks(paths, settings.cache, name=name, resplit=resplit, reporter=settings.reporter())
    resplit_record = merged.manifest.history[-1].get("resplit")
    if as_json:
        about = {
            "bank": shown_path(merged.path),
            "images": len(merged),
            "taps": list(merged.taps),
            "views": merged.views,
        }
        print_json({**about, "resplit": resplit_record})
        return
    echo(
        f"{shown_path(merged.path)}: {counted(len(merged), 'image')} of {counted(len(paths), 'bank')}, taps "
        f"{', '.join(merged.taps)}"
    )
    if resplit_record:
        shares = ", ".join(f"{share:g}" for share in resplit_record["fractions"])
        echo(
            f"new splits ({shares}) by seed {resplit_record['seed']}: {counted(resplit_record['moved'], 'image')} moved"
        )


def _resplit(split: list[float] | None, seed: int) -> Resplit:
    from featurebank.bank.maintenance.agreement import Resplit
    from featurebank.dataset.splits import assign, check_fractions

    fractions = check_fractions(split)
    return Resplit(fractions, seed, lambda digests: assign(digests, None, fractions, seed))


@click.command()
@click.argument("bank", required=False)
@as_json
@click.pass_obj
def finish(settings: Settings, bank: str | None, *, as_json: bool) -> None:
    """List what the parts of an extraction have finished.

    If no part is missing, the bank is complete afterwards. Otherwise the exit code is 1, and a plain extract computes
    the rest. Without BANK, finish all banks of the cache that parts have written.
    """
    from featurebank.bank.catalog import find_bank_path
    from featurebank.extraction.pieces.finishing import banks_in_pieces, finish_bank

    paths = [find_bank_path(settings.cache, bank)] if bank else banks_in_pieces(settings.cache)
    results = {path: finish_bank(path, reporter=settings.reporter()) for path in paths}
    if as_json:
        print_json({"banks": [_finished_to_json(path, listed) for path, listed in results.items()]})
    elif not paths:
        echo(f"nothing to finish: no bank in '{shown_path(settings.cache)}' has parts that are not listed")
    else:
        for path, listed in results.items():
            _print_finished(path, listed)
    if any(listed and not listed.is_complete for listed in results.values()):
        sys.exit(1)


def _finished_to_json(path: Path, listed: ListedPieces | None) -> dict[str, Any]:
    if listed is None:
        return {"bank": shown_path(path), "complete": None, "images": None, "listed": 0, "missing": None, "skipped": []}
    missing = {"slices": len(listed.missing_slices), "of": listed.slices, "images": listed.missing_images}
    return {
        "bank": shown_path(path), "complete": listed.is_complete, "images": listed.images, "listed": listed.listed,
        "missing": missing, "skipped": list(listed.skipped),
    }  # fmt: skip


def _print_finished(path: Path, listed: ListedPieces | None) -> None:
    from featurebank.extraction.pieces.listing import missing_words

    if listed is None:
        echo(f"{shown_path(path)}: nothing to finish")
    elif listed.is_complete:
        skipped = f", {len(listed.skipped)} skipped" if listed.skipped else ""
        rows = counted(listed.listed, "row")
        echo(f"{shown_path(path)}: complete, with {counted(listed.images, 'image')}{skipped}; {rows} listed now")
    else:
        echo(
            f"{shown_path(path)}: {counted(listed.images, 'image')} done, {counted(listed.listed, 'row')} listed now; "
            f"{missing_words(listed)} missing: run the missing parts again, or the same 'featurebank extract' without "
            "--part, which computes the rest"
        )
