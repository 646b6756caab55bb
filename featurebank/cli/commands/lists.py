"""`featurebank datasets` and `featurebank backbones`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from featurebank.cli.context import as_json
from featurebank.cli.options import image_size_option, preprocessing_option
from featurebank.cli.terminal import print_json
from featurebank.system.progress import step

if TYPE_CHECKING:
    from featurebank.backbone import Backbone


@click.command()
@as_json
def datasets(*, as_json: bool) -> None:
    """List the built-in datasets and the other kinds of datasets."""
    from dataclasses import asdict

    from featurebank.cli.tables import print_table
    from featurebank.dataset import known_datasets

    entries = known_datasets()
    if as_json:
        print_json([asdict(entry) for entry in entries])
        return
    rows = [(e.name, "" if e.images is None else e.images, "yes" if e.available else "no", e.what) for e in entries]
    print_table(("name", "images", "available", "description"), rows, right=("images",))


@click.command()
@click.argument("network", required=False, metavar="[NAME]")
@image_size_option
@preprocessing_option
@click.option("--layers", is_flag=True, help="List every layer of NAME; each can be a --tap.")
@click.option(
    "--source", metavar="keras_hub|timm|torchvision|hf",
    help="List the networks of a library whose names match NAME, as 'vit_small*'.",
)  # fmt: skip
@as_json
def backbones(
    network: str | None, image_size: int | None, preprocessing: str | None, source: str | None, *, layers: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """List backbones, the layers of one, or a library's networks.

    With NAME, print the layers where a tail can start, the bytes per image of each, and the share of the work after it.
    With --source, NAME is a pattern with *; nothing is built or downloaded.
    """
    if source:
        from featurebank.cli.library_view import print_entries

        if layers:
            message = "--source lists networks, and --layers the layers of one: use featurebank backbones NAME --layers"
            raise click.UsageError(message)
        print_entries(source, network or "*", as_json=as_json)
        return
    if layers:
        if not network:
            message = "--layers needs the NAME of a network, for example: featurebank backbones vgg16 --layers"
            raise click.UsageError(message)
        _print_layers(network, image_size, preprocessing, as_json=as_json)
        return
    if network:
        _print_cuts(network, image_size, preprocessing, as_json=as_json)
        return
    from featurebank.backbone import known_backbones
    from featurebank.cli.network_view import count
    from featurebank.cli.tables import print_table

    specs = known_backbones()
    if as_json:
        print_json([
            {
                "name": spec.name, "image_size": spec.image_size, "features": spec.channels,
                "parameters": spec.parameters, "preprocessing": spec.preprocessing,
                "weights": spec.weights_file(), "embedded": spec.has_embedded_weights,
            }
            for spec in specs
        ])  # fmt: skip
        return
    rows = [
        (
            spec.name, spec.image_size, spec.channels, count(spec.parameters), spec.preprocessing,
            spec.weights_place,
        )
        for spec in specs
    ]  # fmt: skip
    numbers = ("pixels", "features", "parameters")
    print_table(("name", *numbers, "preprocessing", "ImageNet weights"), rows, right=numbers)


def _load(name: str, image_size: int | None, preprocessing: str | None) -> Backbone:
    """Returns a network, with random weights where it can have them: shapes and work do not depend on the weights."""
    from featurebank.backbone import BackboneOptions, load_network
    from featurebank.backbone.naming import OPENVINO_SUFFIXES

    weights = None if name.endswith(OPENVINO_SUFFIXES) else "random:0"
    return load_network(name, BackboneOptions(weights=weights, image_size=image_size, preprocessing=preprocessing))


def _print_cuts(name: str, image_size: int | None, preprocessing: str | None, *, as_json: bool) -> None:
    from featurebank.cli.network_view import print_network

    backbone = _load(name, image_size, preprocessing)
    with step(f"building {name}"):
        backbone.outline()
    print_network(name, backbone, as_json=as_json)


def _print_layers(name: str, image_size: int | None, preprocessing: str | None, *, as_json: bool) -> None:
    from featurebank.cli.network_view import print_layers

    print_layers(name, _load(name, image_size, preprocessing), as_json=as_json)
