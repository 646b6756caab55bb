"""`featurebank datasets` and `featurebank backbones`."""

from __future__ import annotations

import click

from featurebank.cli.context import as_json
from featurebank.cli.options import image_size_option, preprocessing_option
from featurebank.cli.terminal import echo, print_json
from featurebank.system.progress import step


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
@as_json
def backbones(
    network: str | None, image_size: int | None, preprocessing: str | None, *, layers: bool, as_json: bool
) -> None:
    """List the built-in backbones, or the possible cuts of one.

    With NAME, print the layers where a tail can start, the bytes per image of each, and the share of the work after it.
    """
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
            spec.name, spec.image_size, spec.channels, _count(spec.parameters), spec.preprocessing,
            spec.weights_place,
        )
        for spec in specs
    ]  # fmt: skip
    numbers = ("pixels", "features", "parameters")
    print_table(("name", *numbers, "preprocessing", "ImageNet weights"), rows, right=numbers)


def _count(parameters: int) -> str:
    """Formats 2872 as "2.9 k" and 23587712 as "23.6 M"."""
    return f"{parameters / 1e6:.1f} M" if parameters >= 10**5 else f"{parameters / 1e3:.1f} k"


def _print_cuts(name: str, image_size: int | None, preprocessing: str | None, *, as_json: bool) -> None:
    from featurebank.backbone import BackboneOptions, load_network
    from featurebank.backbone.keras_networks.cuts import cut_points
    from featurebank.cli.tables import print_table, size

    # Shapes and work do not depend on the weights, and random ones need no download.
    options = BackboneOptions(weights="random:0", image_size=image_size, preprocessing=preprocessing)
    backbone = load_network(name, options)
    with step(f"building {name}"):
        cuts = cut_points(backbone.network())
    if as_json:
        print_json({
            "name": name, "image_size": backbone.image_size,
            "cut_points": [
                {
                    "layer": cut.name, "shape": list(cut.shape), "bytes_float16": cut.bytes_per_image_float16,
                    "remaining_work": round(cut.remaining_work, 6),
                }
                for cut in cuts
            ],
        })  # fmt: skip
        return
    echo(
        f"{name}, {backbone.image_size} x {backbone.image_size} pixels; all layers can be a --tap, a tail can start at:"
    )
    if backbone.spec.note:
        echo(backbone.spec.note)
    if backbone.spec.caution:
        echo(f"warning: {backbone.spec.caution}")
    rows = [
        (
            cut.name, " x ".join(map(str, cut.shape)), size(cut.bytes_per_image_float16),
            f"{100 * cut.remaining_work:.1f} %",
        )
        for cut in cuts
    ]  # fmt: skip
    print_table(
        ("layer", "shape", "float16 per image", "work after it"), rows, right=("float16 per image", "work after it")
    )


def _print_layers(name: str, image_size: int | None, preprocessing: str | None, *, as_json: bool) -> None:
    from featurebank.backbone import BackboneOptions, load_network
    from featurebank.backbone.keras_networks.cuts import cut_points
    from featurebank.cli.tables import print_table

    options = BackboneOptions(weights="random:0", image_size=image_size, preprocessing=preprocessing)
    backbone = load_network(name, options)
    network = backbone.network()
    cuts = {cut.name for cut in cut_points(network)}
    shapes = dict(backbone.layers())
    layers = [
        {
            "layer": layer.name, "kind": type(layer).__name__, "shape": list(shapes[layer.name]),
            "parameters": layer.count_params(), "cut_point": layer.name in cuts,
        }
        for layer in network.layers
    ]  # fmt: skip
    if as_json:
        print_json({"name": name, "image_size": backbone.image_size, "layers": layers})
        return
    rows = [
        (
            one["layer"], one["kind"], " x ".join(map(str, one["shape"])), f"{one['parameters']:,}",
            "yes" if one["cut_point"] else "",
        )
        for one in layers
    ]  # fmt: skip
    print_table(("layer", "kind", "shape", "parameters", "cut point"), rows, right=("parameters",), whole=("layer",))
