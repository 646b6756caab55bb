"""`featurebank export` and `featurebank predict`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import banks_option, metric_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import batch_size_option, count, without_defaults
from featurebank.cli.several_banks import open_banks
from featurebank.cli.terminal import echo, echo_cells, print_json

if TYPE_CHECKING:
    from featurebank.grafting import Prediction

_COLUMNS = ("label", "probability")
_BESIDE = ("answered", "unlike", "likeness")
_FORMATS = ("keras", "joined", "onnx", "openvino", "tflite")


@click.command()
@click.argument("run")
@click.option(
    "-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), required=True,
    help="File to write; the suffix determines the format: .keras, .fbmodel, .onnx, .xml (OpenVINO) or .tflite.",
)  # fmt: skip
@click.option("--format", type=click.Choice(_FORMATS), help="Format of the file.  [default: from the suffix]")
@click.option("--no-proof", is_flag=True, help="Do not compare the model with the head on images of the bank.")
@click.option(
    "--with-resize",
    is_flag=True,
    help="Include resizing in the model, so that it accepts images of any size; for .keras and .onnx.",
)
@click.option(
    "--no-certainty",
    is_flag=True,
    help="Do not store what predict --coverage and --abstain-at-error need, and the features of the training images.",
)
@click.option(
    "--no-seen",
    is_flag=True,
    help="Do not store digests of the training and validation images, by which evaluate tells them from others.",
)
@metric_option
@banks_option
@as_json
@click.pass_obj
def export(
    settings: Settings, /, run: str, file: Path, bank: str | None, *, no_proof: bool, no_certainty: bool,
    no_seen: bool, as_json: bool, **values: Any,
) -> None:  # fmt: skip
    """Export a run as one model from images to probabilities.

    RUN is best, or the beginning of a run's id.
    """
    from featurebank.grafting.export_stage import ExportOptions, find_exportable, run_export
    from featurebank.grafting.formats import format_to_write
    from featurebank.runs.selection import find_run
    from featurebank.runs.several import bank_of

    options = ExportOptions(
        proof=not no_proof, certainty=not no_certainty, seen=not no_seen, **without_defaults(values)
    )
    name, _ = format_to_write(file, options.format)  # before anything heavy is loaded
    banks = open_banks(settings, bank)
    reporter = settings.reporter()
    selected = find_exportable(banks, run, file, options, reporter)
    reporter.say(f"run {selected.run}: {selected.spec} on {selected.tap}")
    path = run_export(selected, file, options, reporter=reporter)
    if as_json:
        graft = find_run(bank_of(selected, banks), selected.run).graft if options.proof else None
        proof = graft and {"images": graft["images"], "difference": graft["difference"]}
        print_json({"file": str(path), "format": name, "run": selected.run, "proof": proof})
    else:
        echo(f"{path}: {selected.spec}; use it with: featurebank predict {shlex.quote(str(path))} IMAGE...")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True)
@click.option(
    "--top",
    type=count,
    default=5,
    show_default=True,
    metavar="K",
    help="Show the K most probable classes.",
)
@click.option(
    "--coverage",
    type=float,
    metavar="C",
    help="Also show a set of classes for each image, which contains the true one with this probability, as .95.",
)
@click.option(
    "--abstain-at-error",
    type=float,
    metavar="E",
    help='Say "not sure" so often that at most this share of the other answers is wrong, as .02.',
)
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the predictions to FILE.",
)
@batch_size_option
@as_json
@click.pass_obj
def predict(
    settings: Settings, /, model: Path, images: tuple[str, ...], table: Path | None, *, top: int,
    coverage: float | None, abstain_at_error: float | None, batch_size: int, as_json: bool,
) -> None:  # fmt: skip
    """Classify images with an exported model.

    IMAGES are files or folders. The exit code is 1 if no image can be read.
    """
    from featurebank.grafting import classify

    predictions = classify(
        model, list(images), top=top, coverage=coverage, abstain_at_error=abstain_at_error,
        batch_size=batch_size, reporter=settings.reporter(),
    )  # fmt: skip
    if table:
        _write_csv(table, predictions)
    if as_json:
        print_json([prediction.to_dict() for prediction in predictions])
    elif not sys.stdout.isatty():  # for other programs: one line per image, however long
        for prediction in predictions:
            echo_cells(_row(prediction))
    else:
        from featurebank.cli.tables import print_table

        columns = ["file", "label", "probability", "other classes", *(["set of classes"] if coverage else [])]
        print_table(columns, map(_row, predictions), right=["probability"])
    if all(prediction.error for prediction in predictions):
        sys.exit(1)


def _row(prediction: Prediction) -> tuple[str, ...]:
    """Returns the cells of an image; where the model is not sure, its best class is one among the others."""
    if prediction.error is not None:
        return prediction.file, "", "", f"error: {prediction.error}"
    sure = prediction.answered is not False
    others = ", ".join(f"{label} {probability:.1%}" for label, probability in prediction.top[sure:])
    answer = (str(prediction.label), f"{prediction.probability:.1%}") if sure else ("not sure", "")
    sets = [] if prediction.set is None else [" or ".join(prediction.set) or "none"]
    return prediction.file, *answer, others, *sets


def _write_csv(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes a row for each image: its most probable classes with their probabilities, or its error.

    Columns follow for what the model says beside: `set` (classes separated by "|"), `answered`, `unlike`, `likeness`.
    """
    from featurebank.system.csv_files import write_csv

    places = max(len(prediction.top) for prediction in predictions)
    columns = [f"{name}{'' if place == 1 else f'_{place}'}" for place in range(1, places + 1) for name in _COLUMNS]
    known = [
        name for name in ("set", *_BESIDE) if any(getattr(prediction, name) is not None for prediction in predictions)
    ]
    rows = []
    for prediction in predictions:
        cells = [cell for pair in prediction.top for cell in pair]
        classes = None if prediction.set is None else "|".join(prediction.set)
        beside = {"set": classes, **{name: getattr(prediction, name) for name in _BESIDE}}
        more = [value for name, value in beside.items() if name in known]
        rows.append([prediction.file, *cells, *[None] * (len(columns) - len(cells)), prediction.error, *more])
    write_csv(path, ["file", *columns, "error", *known], rows)
