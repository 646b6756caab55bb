"""`featurebank extract`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import Images, backbone_options, cluster_option, dataset_options, without_defaults
from featurebank.cli.terminal import echo, print_json
from featurebank.cli.workers_view import print_workers, workers_json
from featurebank.engine.table import ENGINES
from featurebank.words import counted, every

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from featurebank.backbone import BackboneOptions
    from featurebank.bank import Bank
    from featurebank.extraction import Extraction
    from featurebank.extraction.estimate import Estimate
    from featurebank.extraction.pieces.part import PartExtraction

_SHOWN = 10
"""Maximum number of skipped images that are listed."""


@click.command()
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Network to run: a name that 'featurebank backbones' lists, or your own as MODULE:FUNCTION or a .keras file. "
    "Repeatable; several networks share one decoding pass.",
)
@dataset_options
@click.option(
    "--tap", "taps", multiple=True, metavar="TAP",
    help="Features to store: pooled, map, LAYER, LAYER:avg or LAYER:max, or auto:2GB, the earliest cut for tails "
    "whose features fit into 2 GB; repeatable.  [default: pooled]",
)  # fmt: skip
@backbone_options
@click.option(
    "--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True,
    help="Library that runs the network; auto is TensorFlow on a GPU, otherwise OpenVINO.",
)  # fmt: skip
@click.option(
    "--store",
    type=click.Choice(["float32", "float16"]),
    help="Number type of the features on disk.  [default: float32, but float16 for maps]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Number type of the network's arithmetic; bfloat16 is faster where the processor supports it, less exact, and "
    "makes another bank.",
)
@click.option("--batch-size", type=int, default=32, show_default=True, metavar="N", help="Images in one forward pass.")
@click.option(
    "--on-bad-image", type=click.Choice(["skip", "fail"]), default="skip", show_default=True,
    help="Skip images that cannot be decoded, or stop at the first one.",
)  # fmt: skip
@click.option(
    "--max-bad", type=float, metavar="SHARE",
    help="Fail if more than this fraction of the images is bad.  [default: 1 for broken images, .1 for unreadable "
    "files]",
)  # fmt: skip
@click.option(
    "--views",
    type=int,
    default=0,
    metavar="K",
    show_default=True,
    help="Augmented views of each image, in addition to the clean one.",
)
@click.option("--augment", metavar="SPEC", help="Augmentation of the views, such as flip,rotate=10,zoom=.2,noise=.05.")
@click.option("--wait", is_flag=True, help="If another process is writing the bank, wait for it.")
@cluster_option
@click.option(
    "--part", metavar="K/N",
    help="Compute one part of N, as 3/16, as one of N processes with a common cache; the last one to end completes the "
    "bank.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Estimate rows, bytes and time in a trial of two seconds, and stop.")
@as_json
@click.pass_obj
def extract(
    settings: Settings, /, backbones: tuple[str, ...], images: Images, network: BackboneOptions, *,
    cluster: str | None, part: str | None, dry_run: bool, as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Compute the features of a dataset and store them in a bank.

    Features that the bank already has are not computed again. DATASET means the same as --dataset.
    """
    from featurebank.backbone import is_user_network, load_network
    from featurebank.bank.last_use import note_use
    from featurebank.cluster.address import check_address
    from featurebank.cluster.extraction import extract_on_cluster
    from featurebank.extraction import ExtractOptions, run_extractions
    from featurebank.extraction.estimate import estimate_extractions
    from featurebank.extraction.pieces.part import Part, estimate_part, run_part
    from featurebank.extraction.request import describe_backbones

    if cluster is not None and dry_run:
        message = "--dry-run estimates the time on this machine: leave out --cluster"
        raise click.UsageError(message)
    if cluster is not None and part is not None:
        message = "--part is for processes without a scheduler: leave out --part or --cluster"
        raise click.UsageError(message)
    if cluster is not None:
        check_address(cluster)
    options = ExtractOptions(**without_defaults(values))
    own_part = None if part is None else Part.parse(part)
    own = [name for name in backbones if is_user_network(name)]
    plain = (
        replace(network, preprocessing=None) if own else network
    )  # --preprocessing is for networks that declare none
    networks = [load_network(name, network if name in own else plain) for name in backbones]
    reporter = settings.reporter()
    if dry_run:
        describe_backbones(networks, reporter)
        with_part = partial(estimate_part, part=own_part) if own_part else estimate_extractions
        estimates = with_part(images.load(), networks, options, cache=settings.cache, reporter=reporter)
        print_estimates(estimates, as_json=as_json)
        return
    if own_part:
        parts = run_part(images.load(), networks, options, own_part, cache=settings.cache, reporter=reporter)
        for one in reversed(parts):
            note_use(settings.cache, one.bank, "extract")
        print_parts(parts, as_json=as_json)
        return
    if cluster is None:
        results = run_extractions(images.load(), networks, options, cache=settings.cache, reporter=reporter)
    else:
        results = extract_on_cluster(
            images.load(), networks, options, cluster, cache=settings.cache, reporter=reporter
        )  # fmt: skip
    for result in reversed(results):  # so that the first one counts as the last used
        note_use(settings.cache, result.bank.path, "extract")
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
        values = [{**asdict(estimate), "bank": str(estimate.bank)} for estimate in estimates]
        print_json(values[0] if len(values) == 1 else {"extractions": values})
        return
    for estimate in estimates:
        if estimate.rows:
            views = "" if estimate.rows <= estimate.images else " with their views"
            echo(
                f"{estimate.rows} of {counted(estimate.images, 'image')}{views} to compute, {size(estimate.bytes)}, "
                f"about {estimate.seconds:.0f} s ({estimate.images_per_second:.1f} images/s, engine {estimate.engine})"
            )
        else:
            echo(f"nothing to extract: the bank, or one that shares its rows, has {every(estimate.images, 'image')}")
        echo(f"bank: {estimate.bank}")


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
        "bank": str(bank), "rows": result.rows, "added": result.added, "reused": result.reused,
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
    echo(f"bank: {bank.path}")


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
        f"{result.missing_slices} of {counted(result.slices, 'slice')} ({counted(result.missing_images, 'image')}) are "
        "still missing: the last part to end completes the bank"
    )
    echo(f"bank: {result.bank}")
