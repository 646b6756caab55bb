"""`featurebank explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import bank_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import batch_size_option, open_bank, without_defaults
from featurebank.cli.terminal import echo, echo_cells, from_here, print_json
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.explanation.explanations import Explanations
    from featurebank.explanation.output import Output

_SHOWN = 10


@click.command()
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="explanations", show_default=True,
    metavar="DIR|FILE.html", help="Folder for one PNG file per image, or one HTML page with all images.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", "cam", "gradcam", "occlusion"]), default="auto", show_default=True,
    help="cam: from stored maps, for heads that are linear. gradcam: by gradients. occlusion: for every head, slowly. "
    "auto: cam if possible, otherwise gradcam.",
)  # fmt: skip
@click.option("--layer", metavar="LAYER", help="Layer whose maps Grad-CAM uses.  [default: the last map]")
@click.option(
    "--class", "class_name", metavar="CLASS", help="Class to explain.  [default: the predicted class of each image]"
)
@batch_size_option
@click.option("--force", is_flag=True, help="Replace existing files.")
@bank_option
@as_json
@click.pass_obj
def explain(
    settings: Settings, /, run: str, images: tuple[str, ...], output: Path, bank: str | None, *, force: bool,
    as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Show which parts of images a run relies on.

    RUN is best, or the beginning of a run's id. IMAGES are files, folders, or ids of images of the bank. Bright colours
    mark the parts that raise the score of the class.
    """
    from featurebank.dataset.unlabelled import unlabelled_images
    from featurebank.explanation.output import Output
    from featurebank.explanation.pictures import named_images
    from featurebank.explanation.stage import ExplainOptions, run_explain
    from featurebank.runs.selection import find_run

    options = ExplainOptions(**without_defaults(values))
    source = open_bank(settings, bank)
    dataset = unlabelled_images(named_images(images, source))
    target = Output.of(output, dataset.ids, force=force)
    selected = find_run(source, run)
    reporter = settings.reporter()
    reporter.say(f"run {selected.run}: {selected.spec} on {selected.tap}")
    explanations = run_explain(source, selected, dataset, options, reporter=reporter)
    for name, reason in explanations.skipped[:_SHOWN]:
        reporter.warn(f"cannot read {name}: {reason}")
    if len(explanations.skipped) > _SHOWN:
        more = counted(len(explanations.skipped) - _SHOWN, "more image")
        reporter.warn(f"and {more} could not be read; --json lists them")
    if cold := sum(not one.cells.any() for one in explanations):
        reporter.say(f"{counted(cold, 'image')} without heat: no part of the image raises the score of the class")
    files = target.write(explanations)
    if as_json:
        print_json(_json(explanations, target, files))
    else:
        _print(explanations, target, files)


def _json(explanations: Explanations, output: Output, files: list[Path]) -> dict[str, Any]:
    images = [one.to_dict() for one in explanations]
    if not output.is_page:
        images = [{**one, "picture": str(file)} for one, file in zip(images, files, strict=True)]
    return {
        "run": explanations.run, "head": explanations.head, "method": explanations.method,
        "layer": explanations.layer, "output": str(output.path), "images": images,
        "skipped": [{"file": name, "reason": reason} for name, reason in explanations.skipped],
    }  # fmt: skip


def _print(explanations: Explanations, output: Output, files: list[Path]) -> None:
    names = [""] * len(explanations) if output.is_page else [file.name for file in files]
    rows = [
        (one.file, one.class_name, f"{one.probability:.1%}", one.label or "", name)
        for one, name in zip(explanations, names, strict=True)
    ]
    if not sys.stdout.isatty():  # for other programs: one line per image, however long
        for row in rows:
            echo_cells(row)
    else:
        from featurebank.cli.tables import print_table

        columns = ("file", "class", "probability", "label", "picture")[: 4 if output.is_page else 5]
        near = [(from_here(name), *others) for name, *others in rows]
        print_table(columns, [row[: len(columns)] for row in near], right=["probability"])
    echo(f"page: {output.path}" if output.is_page else f"pictures: {output.path}", err=not sys.stdout.isatty())
