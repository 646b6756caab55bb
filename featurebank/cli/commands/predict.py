"""`featurebank export` and `featurebank predict`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurebank.cli.commands.heads import bank_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import open_bank
from featurebank.cli.terminal import echo, echo_cells, print_json

if TYPE_CHECKING:
    from featurebank.grafting import Prediction

_TOLD = ("label", "probability")
_FORMATS = ("keras", "joined", "onnx", "openvino", "tflite")


@click.command()
@click.argument("run")
@click.option(
    "-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="File to write; its suffix decides the format: .keras, .fbmodel, .onnx, .xml (OpenVINO) or .tflite.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(_FORMATS), help="Format of the file.  [default: decided by the suffix]"
)
@click.option(
    "--no-proof", is_flag=True, help="Do not check that the model agrees with the head on images of the bank."
)
@click.option(
    "--with-resize",
    is_flag=True,
    help="Put the resizing into the model, so that it takes images of any size; for .keras and .onnx.",
)
@bank_option
@as_json
@click.pass_obj
def export(
    settings: Settings, run: str, file: Path, kind: str | None, bank: str | None, *, no_proof: bool, with_resize: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a run as one model that turns images into probabilities.

    RUN is best, or the beginning of a run's id.
    """
    from featurebank.grafting import export as export_run
    from featurebank.grafting.formats import format_to_write
    from featurebank.grafting.stage import best_in_layers
    from featurebank.runs.selection import find_run

    name, _ = format_to_write(file, kind)  # before anything heavy is loaded
    found = open_bank(settings, bank)
    reporter = settings.reporter()
    chosen = find_run(found, run) if run != "best" or name == "joined" else best_in_layers(found, reporter=reporter)
    if run == "best" and chosen.run != find_run(found).run:
        reporter.say(f"the best head itself: featurebank export best -o {file.with_suffix('.fbmodel')}")
    reporter.say(f"run {chosen.run}: {chosen.spec} on {chosen.tap}")
    path = export_run(chosen, file, format=kind, proof=not no_proof, with_resize=with_resize, reporter=reporter)
    if as_json:
        kept = None if no_proof else find_run(found, chosen.run).graft
        proof = kept and {"images": kept["images"], "difference": kept["difference"]}
        print_json({"file": str(path), "format": name, "run": chosen.run, "proof": proof})
    else:
        echo(f"{path}: {chosen.spec}; ask it with: featurebank predict {shlex.quote(str(path))} IMAGE...")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="K",
    help="Show the K most probable classes.",
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the predictions to FILE.",
)
@as_json
@click.pass_obj
def predict(
    settings: Settings, /, model: Path, images: tuple[str, ...], table: Path | None, *, top: int, as_json: bool
) -> None:
    """Classify images with an exported model.

    IMAGES are files or folders. The exit code is 1 if no image can be read.
    """
    from featurebank.grafting import predict as predict_images

    found = predict_images(model, list(images), top=top, reporter=settings.reporter())
    if table:
        _write_csv(table, found)
    if as_json:
        print_json([prediction.to_dict() for prediction in found])
    elif not sys.stdout.isatty():  # for other programs: a line an image, whatever its length
        for prediction in found:
            echo_cells(_row(prediction))
    else:
        from featurebank.cli.tables import print_table

        columns = ["file", "label", "probability", "then"]
        print_table(columns, map(_row, found), right=["probability"])
    if all(prediction.error for prediction in found):
        sys.exit(1)


def _row(prediction: Prediction) -> tuple[str, str, str, str]:
    if prediction.error is not None:
        return prediction.file, "", "", f"error: {prediction.error}"
    others = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top[1:])
    return prediction.file, str(prediction.label), f"{prediction.probability:.1%}", others


def _write_csv(path: Path, found: Sequence[Prediction]) -> None:
    """Writes a row for each image: the classes told of it with their probabilities, or its error."""
    from featurebank.system.csv_files import write_csv

    told = max(len(prediction.top) for prediction in found)
    columns = [f"{name}{'' if place == 1 else f'_{place}'}" for place in range(1, told + 1) for name in _TOLD]
    rows = []
    for prediction in found:
        cells = [cell for pair in prediction.top for cell in pair]
        rows.append([prediction.file, *cells, *[None] * (len(columns) - len(cells)), prediction.error])
    write_csv(path, ["file", *columns, "error"], rows)
