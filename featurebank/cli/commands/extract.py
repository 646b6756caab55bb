"""`featurebank extract`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.extraction_view import print_estimates, print_extractions, print_parts
from featurebank.cli.options import (
    Images,
    backbone_options,
    batch_size_option,
    cluster_option,
    dataset_options,
    without_defaults,
)
from featurebank.engine.table import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featurebank.backbone import Backbone, BackboneOptions
    from featurebank.extraction import Extraction, ExtractOptions
    from featurebank.extraction.estimate import Estimate
    from featurebank.extraction.pieces.part import Part, PartExtraction


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
@batch_size_option
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
    part: str | None, dry_run: bool, as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Compute the features of a dataset and store them in a bank.

    Features that the bank already has are not computed again. DATASET means the same as --dataset.
    """
    from featurebank.extraction import ExtractOptions
    from featurebank.extraction.pieces.part import Part

    options = ExtractOptions(**without_defaults(values))
    _check_place(options.cluster, part, dry_run=dry_run)
    own_part = None if part is None else Part.parse(part, "--part")
    networks = _networks(backbones, network)
    if dry_run:
        print_estimates(_estimates(settings, images, networks, options, own_part), as_json=as_json)
    elif own_part:
        print_parts(_run_part(settings, images, networks, options, own_part), as_json=as_json)
    else:
        print_extractions(_run(settings, images, networks, options), as_json=as_json)


def _check_place(cluster: str | None, part: str | None, *, dry_run: bool) -> None:
    """Raises UsageError or ConfigError if it is unclear or unknown where the network has to run."""
    from featurebank.cluster.address import check_address

    if cluster is not None and dry_run:
        message = "--dry-run estimates the time on this machine: leave out --cluster"
        raise click.UsageError(message)
    if cluster is not None and part is not None:
        message = "--part is for processes without a scheduler: leave out --part or --cluster"
        raise click.UsageError(message)
    if cluster is not None:
        check_address(cluster)


def _networks(backbones: Sequence[str], network: BackboneOptions) -> list[Backbone]:
    from featurebank.backbone import is_user_network, load_network

    own = [name for name in backbones if is_user_network(name)]
    # --preprocessing is for networks that declare none
    plain = replace(network, preprocessing=None) if own else network
    return [load_network(name, network if name in own else plain) for name in backbones]


def _estimates(
    settings: Settings, images: Images, networks: Sequence[Backbone], options: ExtractOptions, part: Part | None
) -> list[Estimate]:
    from featurebank.extraction.estimate import estimate_extractions
    from featurebank.extraction.pieces.part import estimate_part
    from featurebank.extraction.request import describe_backbones

    reporter = settings.reporter()
    if part:
        return estimate_part(images.load(), networks, options, part, cache=settings.cache, reporter=reporter)
    describe_backbones(networks, reporter)
    return estimate_extractions(images.load(), networks, options, cache=settings.cache, reporter=reporter)


def _run_part(
    settings: Settings, images: Images, networks: Sequence[Backbone], options: ExtractOptions, part: Part
) -> list[PartExtraction]:
    from featurebank.bank.last_use import note_use
    from featurebank.extraction.pieces.part import run_part

    results = run_part(images.load(), networks, options, part, cache=settings.cache, reporter=settings.reporter())
    for result in reversed(results):  # so that the first one counts as the last used
        note_use(settings.cache, result.bank, "extract")
    return results


def _run(settings: Settings, images: Images, networks: Sequence[Backbone], options: ExtractOptions) -> list[Extraction]:
    from featurebank.bank.last_use import note_use
    from featurebank.cluster.extraction import extract_banks

    results = extract_banks(images.load(), networks, options, cache=settings.cache, reporter=settings.reporter())
    for result in reversed(results):
        note_use(settings.cache, result.bank.path, "extract")
    return results
