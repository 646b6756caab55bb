"""`featurebank similar`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import bank_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import open_bank, without_defaults
from featurebank.cli.terminal import echo, print_json

if TYPE_CHECKING:
    from featurebank.similarity.neighbours import Neighbours, SimilarImages


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@bank_option
@click.option("--tap", metavar="TAP", help="Tap whose features are compared.  [default: pooled, or the first]")
@click.option("--top", type=int, default=12, show_default=True, metavar="K", help="Similar images for each IMAGE.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Also write a page with the pictures as one HTML file.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file of -o if it exists.")
@as_json
@click.pass_obj
def similar(
    settings: Settings, /, images: tuple[str, ...], bank: str | None, output: Path | None, *, force: bool,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Find the images of a bank that are most similar to images.

    IMAGE is a file, a folder, or the id of an image of the bank, as 'roses/7.jpg'.
    """
    from featurebank.similarity.pictures import write_page
    from featurebank.similarity.queries import Queries
    from featurebank.similarity.stage import SimilarOptions, run_similar
    from featurebank.system.files import PAGES, check_output

    checked = SimilarOptions(**without_defaults(options))
    if output:
        check_output(output, force=force, suffixes=PAGES)
    searched, reporter = open_bank(settings, bank), settings.reporter()
    found = run_similar(Queries.named(images, searched), searched, checked, reporter=reporter)
    if output:
        write_page(found, output, force=force, reporter=reporter)
    if as_json:
        print_json({**found.to_json(), "page": output and str(output)})
        return
    _print(found)
    if output:
        echo(f"page: {output}")


def _print(found: SimilarImages) -> None:
    for one in found:
        places = dict.fromkeys(place for place in (one.label, one.split) if place is not None)
        itself = f" ({', '.join(places)})" if places else ""  # an image without a label is in no split
        echo(f"{one.image}{itself}")
        echo(one.sentence)
        _print_neighbours(one)
    if len(found) > 1:
        echo(found.sentence)


def _print_neighbours(one: Neighbours) -> None:
    from featurebank.cli.tables import print_table

    copies = any(row.is_copy for row in one)
    rows = [
        (rank, f"{row.cosine:.4f}", row.label, row.split, row.id, *(["the same image" if row.is_copy else ""] * copies))
        for rank, row in enumerate(one, 1)
    ]
    columns = ["", "cosine", "label", "split", "image", *(["copy"] * copies)]
    print_table(columns, rows, right=["", "cosine"], whole=["split"])
