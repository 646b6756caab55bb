"""`featurebank evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import Images, batch_size_option, dataset_argument
from featurebank.cli.terminal import echo, print_json
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.certainty.measured import MeasuredCertainty
    from featurebank.grafting.evaluation import Evaluation
    from featurebank.grafting.seen.overlap import Overlap

_SPLITS = ("all", "train", "val", "test")
_MATRIX = 12
"""Maximum number of classes for which the confusion matrix is printed."""
_SHOWN = 10


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@dataset_argument
@click.option("--on", "part", type=click.Choice(_SPLITS), default="all", show_default=True, help="Split to measure.")
@batch_size_option
@as_json
@click.pass_obj
def evaluate(settings: Settings, /, model: Path, images: Images, part: str, batch_size: int, *, as_json: bool) -> None:
    """Measure an exported model on labelled images.

    Print accuracy, loss, recall and precision of each class, and the confusion matrix.
    """
    from featurebank.grafting.evaluation import evaluate_model
    from featurebank.grafting.loaded_model import check_model, read_model

    check_model(model)
    reporter = settings.reporter()
    dataset = images.load()
    evaluation = evaluate_model(read_model(model), dataset, split=part, batch_size=batch_size, reporter=reporter)
    for name, reason in evaluation.skipped[:_SHOWN]:
        reporter.warn(f"cannot read {name}: {reason}")
    if len(evaluation.skipped) > _SHOWN:
        reporter.warn(
            f"and {counted(len(evaluation.skipped) - _SHOWN, 'more image')} could not be read; --json lists them"
        )
    if as_json:
        print_json({"model": str(model), **evaluation.to_dict()})
    else:
        _print(evaluation)


def _print(evaluation: Evaluation) -> None:
    from featurebank.cli.tables import print_table
    from featurebank.metrics.group_effects import groups_in_words

    low, high = evaluation.accuracy_interval
    of_groups = "" if evaluation.groups is None else f" of {groups_in_words(evaluation.groups)}"
    echo(
        f"accuracy {evaluation.accuracy:.4f} (95 % interval {low:.4f} to {high:.4f}), loss {evaluation.loss:.4f}, "
        f"macro F1 {evaluation.macro_f1:.4f} on {counted(evaluation.images, 'image')}{of_groups}"
    )
    if evaluation.seen is not None:
        _print_seen(evaluation.seen)
    rows = [(one.name, one.images, _share(one.recall), _share(one.precision)) for one in evaluation.classes]
    print_table(("class", "images", "recall", "precision"), rows, right=("images", "recall", "precision"))
    if evaluation.certainty is not None:
        _print_certainty(evaluation.certainty, evaluation)
    names = [one.name for one in evaluation.classes]
    if len(names) <= _MATRIX:
        print_table(
            ("true class", *names),
            [(name, *row) for name, row in zip(names, evaluation.confusion.tolist(), strict=True)], right=names,
        )  # fmt: skip
        return
    wrong = evaluation.mistaken()
    print_table(("true class", "predicted class", "images"), wrong[:_SHOWN], right=("images",))
    if len(wrong) > _SHOWN:
        echo(f"and {counted(len(wrong) - _SHOWN, 'more pair')}; --json prints the whole matrix")


def _print_seen(seen: Overlap) -> None:
    from featurebank.cli.tables import print_table

    if not seen.compared:
        echo("whether the model has seen any of these images is unknown: its file has digests of too few of its images")
    elif not seen.seen:
        echo(f"the model has seen none of the {counted(seen.compared, 'image')}")
    else:
        parts = (("in training", seen.training), ("in validation", seen.validation), ("never", seen.unseen))
        columns = ("seen by the model", "images", "accuracy", "95 % interval")
        rows = [
            (name, one.images, _share(one.accuracy), _interval(one.accuracy_interval))
            for name, one in parts if one.images
        ]  # fmt: skip
        print_table(columns, rows, right=columns[1:])
    if 0 < seen.compared < seen.images:
        echo(f"these are a random sample: only {seen.compared} of {counted(seen.images, 'image')} could be compared")


def _print_certainty(certainty: MeasuredCertainty, evaluation: Evaluation) -> None:
    from featurebank.cli.tables import print_table

    if certainty.images != evaluation.images:
        echo(f"sets of classes and answers, on the {counted(certainty.images, 'unseen image')}:")
    columns = ("coverage asked for", "coverage", "95 % interval", "classes in a set", "empty sets")
    sets = [
        (f"{one.target:g}", f"{one.coverage:.4f}", _interval(one.interval), f"{one.size:.2f}", f"{one.empty:.1%}")
        for one in certainty.sets
    ]
    print_table(columns, sets, right=columns)
    names = ("error asked for", "answered", "error", "95 % interval")
    answers = [
        (f"{one.target:g}", f"{one.share:.1%}", _share(one.error), _interval(one.interval))
        for one in certainty.answers
    ]  # fmt: skip
    print_table(names, answers, right=names)
    if evaluation.unlike is not None:
        echo(f"unlike the training images: {evaluation.unlike} of {counted(evaluation.images, 'image')}")


def _interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{ends[0]:.3f}-{ends[1]:.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
