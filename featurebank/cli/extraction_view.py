"""Prints extractions: what was computed, what a bank has, and what one would take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from featurebank.cli.terminal import echo, print_json, shown_path
from featurebank.cli.workers_view import print_workers, workers_json
from featurebank.words import counted, every

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from featurebank.bank import Bank
    from featurebank.extraction import Extraction
    from featurebank.extraction.estimate import Estimate
    from featurebank.extraction.pieces.part import PartExtraction

_SHOWN = 10
"""Maximum number of skipped images that are listed."""


def print_extractions(results: Sequence[Extraction], *, as_json: bool) -> None:
    """Prints the extractions into the banks of one or several backbones."""
    if as_json:
        summaries = [to_json(result) for result in results]
        print_json(summaries[0] if len(summaries) == 1 else {"extractions": summaries})
        return
    for result in results:
        print_extraction(result)
    print_workers(results[0].workers)


def print_estimates(estimates: Sequence[Estimate], *, as_json: bool) -> None:
    """Prints the estimated size and duration of extractions."""
    from dataclasses import asdict

    from featurebank.cli.tables import size

    if as_json:
        values = [{**asdict(estimate), "bank": shown_path(estimate.bank)} for estimate in estimates]
        print_json(values[0] if len(values) == 1 else {"extractions": values})
        return
    for estimate in estimates:
        if estimate.rows:
            images = f"{estimate.rows} of {counted(estimate.images, 'image')}"
            if estimate.rows > estimate.images:
                images = f"{counted(estimate.rows, 'view')} of {counted(estimate.images, 'image')}"
            echo(
                f"{images} to compute, {size(estimate.bytes)}, "
                f"about {estimate.seconds:.0f} s ({estimate.images_per_second:.1f} images/s, engine {estimate.engine})"
            )
        else:
            echo(f"nothing to extract: the bank, or one that shares its rows, has {every(estimate.images, 'image')}")
        echo(f"bank: {shown_path(estimate.bank)}")


def to_json(result: Extraction) -> dict[str, Any]:
    """Returns the JSON value of an extraction."""
    return _counts(result, result.bank.path) | _contents(result.bank) | workers_json(result.workers)


def _contents(bank: Bank | None) -> dict[str, Any]:
    """Returns the taps and views of a bank; there are none before it is complete."""
    taps = {
        tap: {"shape": list(bank.tap_shape(tap)), "dtype": bank.tap_dtype(tap), "bytes": bank.tap_bytes(tap)}
        for tap in bank.taps
    } if bank else {}  # fmt: skip
    return {"taps": taps, **({"views": bank.views} if bank and bank.views else {})}


def _counts(result: Extraction | PartExtraction, bank: Path) -> dict[str, Any]:
    busy = {"busy": {part: round(share, 3) for part, share in result.busy.items()}} if result.busy else {}
    return {
        "bank": shown_path(bank), "rows": result.rows, "added": result.added, "reused": result.reused,
        "skipped": list(result.skipped), "seconds": round(result.seconds, 3),
        "images_per_second": round(result.images_per_second, 2), "engine": result.engine,
        "precision": result.precision, **busy,
    }  # fmt: skip


def print_extraction(result: Extraction) -> None:
    """Prints an extraction for people."""
    bank = result.bank
    if result.added:
        _print_added(result)
    else:
        echo(f"nothing to extract: the bank has {every(result.rows, 'image')}")
    _print_contents(bank, result.skipped)


def _print_added(result: Extraction | PartExtraction, what: str = "") -> None:
    views = "" if result.computed == result.added else f" ({result.computed} with their views)"
    rate = f"{result.images_per_second:.1f} images/s"
    echo(
        f"{what}{counted(result.added, 'image')}{views} extracted in {result.seconds:.1f} s ({rate}, engine "
        f"{result.engine}, {result.precision}), {result.reused} already in the bank"
    )
    busy = sorted(result.busy.items(), key=lambda part: -part[1])
    echo("  busy: " + ", ".join(f"{part} {share:.0%}" for part, share in busy))


def _print_contents(bank: Bank, skipped: Sequence[Mapping[str, str]]) -> None:
    from featurebank.cli.tables import size

    if bank.views:
        echo(f"  each with {counted(bank.views, 'view')}: {bank.recipe['views']['augment']}")
    _print_skipped(skipped, bank.name)
    for tap in bank.taps:
        shape = " x ".join(str(side) for side in bank.tap_shape(tap))
        echo(f"  {tap}: {shape} {bank.tap_dtype(tap)}, {size(bank.tap_bytes(tap))}")
    echo(f"bank: {shown_path(bank.path)}")


def _print_skipped(skipped: Sequence[Mapping[str, str]], bank: str) -> None:
    for entry in skipped[:_SHOWN]:
        echo(f"  skipped {entry['id']}: {entry['reason']}")
    if len(skipped) > _SHOWN:
        echo(f"  and {len(skipped) - _SHOWN} more, listed by 'featurebank cache show {bank}'")


def print_parts(results: Sequence[PartExtraction], *, as_json: bool) -> None:
    """Prints one part of an extraction, for each of its banks."""
    from featurebank.bank import Bank

    banks = [Bank(result.bank) if result.is_complete else None for result in results]
    if as_json:
        values = [_part_to_json(result, bank) for result, bank in zip(results, banks, strict=True)]
        print_json(values[0] if len(values) == 1 else {"extractions": values})
        return
    for result, bank in zip(results, banks, strict=True):
        _print_part(result, bank)


def _part_to_json(result: PartExtraction, bank: Bank | None) -> dict[str, Any]:
    missing = {"slices": result.missing_slices, "of": result.slices, "images": result.missing_images}
    own = {"part": str(result.part), "complete": result.is_complete, "missing": missing}
    return _counts(result, result.bank) | _contents(bank) | own


def _print_part(result: PartExtraction, bank: Bank | None) -> None:
    part = f"part {result.part}: "
    if result.added:
        _print_added(result, part)
    else:
        echo(f"{part}nothing to extract: its {counted(result.rows, 'image is', 'images are')} done")
    if bank:
        echo(f"all parts are done: the bank is complete, with {counted(result.images, 'image')}")
        _print_contents(bank, result.skipped)
        return
    _print_skipped(result.skipped, result.bank.name)
    echo(
        f"the bank still lacks {result.missing_slices} of {counted(result.slices, 'slice')} "
        f"({counted(result.missing_images, 'image')}): the last part to end completes it"
    )
    echo(f"bank: {shown_path(result.bank)}")
