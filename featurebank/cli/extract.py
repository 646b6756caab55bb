"""`featurebank extract`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.options import Images, dataset_options
from featurebank.cli.settings import Settings, as_json, print_json

if TYPE_CHECKING:
    from featurebank.extraction import Extraction

_SHOWN = 10
"""Skipped images that are named one by one."""


@click.command()
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    required=True,
    help="Network to run; 'featurebank backbones' lists them. Several share one decoding pass.",
)
@dataset_options
@click.option(
    "--tap", "taps", multiple=True, help="pooled, map, LAYER, LAYER:avg or LAYER:max; repeatable.  [default: pooled]"
)
@click.option("--weights", default="imagenet", show_default=True, help="imagenet, random:SEED or a file.")
@click.option("--image-size", type=int, metavar="PX", help="Side of the network's input.  [default: the network's own]")
@click.option(
    "--engine", type=click.Choice(["auto", "openvino", "tensorflow"]), default="auto", show_default=True,
    help="What runs the network; auto is TensorFlow on a GPU, else OpenVINO.",
)  # fmt: skip
@click.option(
    "--store", type=click.Choice(["float32", "float16"]), help="On disk.  [default: float32, of maps float16]"
)
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images a forward pass.")
@click.option("--on-bad-image", type=click.Choice(["skip", "fail"]), default="skip", show_default=True)
@click.option("--views", type=int, default=0, metavar="K", help="Augmented views of each image beside the clean one.")
@click.option("--augment", metavar="SPEC", help="What the views are, as flip,rotate=10,zoom=.2,noise=.05.")
@click.option("--wait", is_flag=True, help="Wait for another process that writes the bank.")
@as_json
@click.pass_obj
def extract(
    settings: Settings, backbones: tuple[str, ...], images: Images, taps: tuple[str, ...], weights: str,
    image_size: int | None, engine: str, store: str | None, batch_size: int, on_bad_image: str, views: int,
    augment: str | None, *, wait: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compute the features that a bank lacks; what it has is never computed again."""
    from featurebank.backbone import load_backbone
    from featurebank.extraction import ExtractOptions, run_extractions

    networks = [load_backbone(name, weights=weights, image_size=image_size) for name in backbones]
    options = ExtractOptions(taps or ("pooled",), engine, batch_size, store, on_bad_image, views, augment, wait)
    results = run_extractions(images.load(), networks, options, cache=settings.cache, reporter=settings.reporter())
    if as_json:
        found = [to_json(result) for result in results]
        print_json(found[0] if len(found) == 1 else {"extractions": found})
        return
    for result in results:
        print_extraction(result)


def to_json(result: Extraction) -> dict[str, Any]:
    """Returns what `extract --json` prints."""
    bank = result.bank
    taps = {
        tap: {"shape": list(bank.tap_shape(tap)), "dtype": bank.tap_dtype(tap), "bytes": bank.tap_bytes(tap)}
        for tap in bank.taps
    }
    views = {"views": bank.views} if bank.views else {}
    return {
        "bank": str(bank.path), "rows": result.rows, "added": result.added, "reused": result.reused,
        "skipped": list(result.skipped), "seconds": round(result.seconds, 3),
        "images_per_second": round(result.images_per_second, 2), "engine": result.engine,
        "precision": result.precision, "taps": taps, **views,
    }  # fmt: skip


def print_extraction(result: Extraction) -> None:
    """Prints an extraction for people."""
    from featurebank.cli.tables import size

    bank = result.bank
    if result.added:
        click.echo(
            f"{result.added} images extracted in {result.seconds:.1f} s ({result.images_per_second:.1f} images/s, "
            f"engine {result.engine}, {result.precision}), {result.reused} found in the bank"
        )
    else:
        click.echo(f"nothing to extract: all {result.rows} images are in the bank")
    if bank.views:
        click.echo(f"  each with {bank.views} views: {bank.recipe['views']['augment']}")
    for entry in result.skipped[:_SHOWN]:
        click.echo(f"  skipped {entry['id']}: {entry['reason']}")
    if len(result.skipped) > _SHOWN:
        click.echo(f"  and {len(result.skipped) - _SHOWN} more, listed by 'featurebank cache show {bank.name}'")
    for tap in bank.taps:
        shape = " x ".join(str(side) for side in bank.tap_shape(tap))
        click.echo(f"  {tap}: {shape} {bank.tap_dtype(tap)}, {size(bank.tap_bytes(tap))}")
    click.echo(f"bank: {bank.path}")
