"""`featurebank inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import Images, dataset_argument, levels_option, resize_option, without_defaults
from featurebank.cli.terminal import echo, print_json

if TYPE_CHECKING:
    from featurebank.bank import Bank
    from featurebank.dataset import Dataset


@click.command()
@dataset_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Also write a report with pictures as one HTML file.",
)  # fmt: skip
@click.option(
    "--bank", metavar="BANK",
    help="Bank whose features find near duplicates.  [default: the last used bank of this dataset]",
)  # fmt: skip
@click.option(
    "--no-bank", is_flag=True, help="Do not search for near duplicates; the search takes long for a million images."
)
@click.option(
    "--near", type=float, default=0.98, show_default=True, metavar="COSINE",
    help="Cosine similarity above which two images of different splits count as near duplicates.",
)  # fmt: skip
@click.option(
    "--sample", type=int, default=8, show_default=True, metavar="N", help="Show N images of each class in the report."
)
@click.option("--augment", metavar="SPEC", help="Also show augmented images in the report, such as flip,rotate=10.")
@click.option("--views", type=int, metavar="K", help="Augmented views per image.  [default: 4]")
@click.option("--image-size", type=int, metavar="PX", help="Side of the augmented images in pixels.  [default: 224]")
@resize_option
@levels_option
@as_json
@click.pass_obj
def inspect(
    settings: Settings, /, images: Images, output: Path | None, bank: str | None, augment: str | None, *,
    no_bank: bool, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Describe a dataset: counts, sizes, bad files and duplicates.

    DATASET is a name that 'featurebank datasets' lists, or a path.
    """
    if augment is None and without_defaults(options).keys() & {"views", "image_size", "resize"}:
        message = "--views, --image-size and --resize require --augment SPEC: add it, or omit them"
        raise click.UsageError(message)
    if bank and no_bank:
        message = "--bank and --no-bank exclude each other: leave one of them out"
        raise click.UsageError(message)
    from featurebank.inspection.stage import InspectOptions, run_inspection

    augmentation = None
    if augment is not None:
        from featurebank.augment import Augmentation

        augmentation = Augmentation.parse(augment)
    dataset = images.load()
    inspection = run_inspection(
        dataset, InspectOptions(seed=images.options.seed, **without_defaults(options)),
        bank=None if no_bank else _bank(settings, bank, dataset), augmentation=augmentation,
        reporter=settings.reporter(),
    )  # fmt: skip
    if output:
        from featurebank.inspection.page import write_page

        write_page(inspection, output)
    if as_json:
        print_json(inspection.to_json())
    else:
        from featurebank.cli.inspection_view import print_inspection

        print_inspection(inspection)
        if output:
            echo(f"page: {output}")


def _bank(settings: Settings, name: str | None, dataset: Dataset) -> Bank | None:
    from featurebank.bank import Bank, find_bank_path
    from featurebank.inspection.near_duplicates import bank_of

    return Bank(find_bank_path(settings.cache, name)) if name else bank_of(settings.cache, dataset)
