"""`featurebank race`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import metric_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import Images, backbone_options, batch_size_option, dataset_options, without_defaults
from featurebank.cli.terminal import echo, print_json, shown_path
from featurebank.engine.table import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from featurebank.backbone import BackboneOptions
    from featurebank.racing import Race
    from featurebank.racing.outcome import RoundScore

_SHOWN = 5
_FIRST_TO_GO = ("images", "images/s", "LogME")
"""Columns that a narrow terminal lacks: the images stand above the table, and --json has all."""


@click.command()
@click.option(
    "--backbone", "backbones", multiple=True, required=True, metavar="NAME[@WEIGHTS][@SIZEpx]",
    help="A candidate, as for extract; its own weights or image size follow after @, as resnet50@random:0@160px.  "
    "Repeatable; two or more.",
)  # fmt: skip
@dataset_options
@click.option(
    "--tap", default="pooled", show_default=True, metavar="TAP",
    help="Features by which candidates are compared, and on which heads are trained.",
)  # fmt: skip
@click.option(
    "--grid", default="default", show_default=True, metavar="NAME|FILE", help="Grid of heads for the survivors."
)
@metric_option
@click.option("--budget", type=float, metavar="SECONDS", help="Stop after about this time, and say what is unfinished.")
@click.option(
    "--share", type=float, default=0.15, show_default=True, metavar="SHARE",
    help="The rounds may compute at most this part of the images that a full search would.",
)  # fmt: skip
@click.option(
    "--part", type=int, metavar="N",
    help="Training images in the first part.  [default: a twentieth of the images, at most 1000]",
)  # fmt: skip
@backbone_options
@click.option(
    "--engine", type=click.Choice(["auto", *ENGINES]), default="auto", show_default=True,
    help="Library that runs the networks; auto is TensorFlow on a GPU, otherwise OpenVINO.",
)  # fmt: skip
@click.option(
    "--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True,
    help="Number type of the networks' arithmetic.",
)  # fmt: skip
@batch_size_option
@as_json
@click.pass_obj
def race(
    settings: Settings, /, backbones: tuple[str, ...], images: Images, network: BackboneOptions, *, as_json: bool,
    **values: Any,
) -> None:  # fmt: skip
    """Find the best of several backbones on parts of the images.

    Rounds on growing parts of the training images drop the worse candidates; the survivors are extracted wholly, and a
    grid of heads is trained on them. DATASET means the same as --dataset.
    """
    from featurebank.bank.last_use import note_use
    from featurebank.racing import RaceOptions, run_race

    result = run_race(
        images.load(), backbones, RaceOptions(**without_defaults(values)), network, cache=settings.cache,
        reporter=settings.reporter(), show=(lambda scores: None) if as_json else print_round,
    )  # fmt: skip
    if result.bank is not None:
        note_use(settings.cache, result.bank.path, "race")
    if as_json:
        print_json(race_json(result))
    else:
        print_race(result)


def race_json(result: Race) -> dict[str, Any]:
    """Returns the JSON value of a race."""
    bank = None if result.bank is None else shown_path(result.bank.path)
    return {**result.summary(), "bank": bank, "banks": [shown_path(bank.path) for bank in result.banks]}


def print_round(scores: Sequence[RoundScore]) -> None:
    """Prints the table of one round."""
    from featurebank.cli.tables import fitting_columns, print_table

    rows = [_cells(one) for one in scores]
    columns = fitting_columns({name: [row[name] for row in rows] for name in rows[0]}, "backbone", _FIRST_TO_GO)
    print_table(
        columns, ([row[name] for name in columns] for row in rows), whole=("decision",),
        right=[name for name in columns if name not in {"backbone", "decision"}],
    )  # fmt: skip


def _cells(one: RoundScore) -> dict[str, str]:
    return {
        "backbone": one.candidate,
        "images": str(one.images),
        "LOO acc": f"{one.accuracy:.4f}",
        "LOO loss": f"{one.loss:.4f}",
        "behind": "-" if one.decision == "best" else f"{one.distance:.1f} s.e.",
        "LogME": f"{one.logme:.3f}",
        "images/s": "-" if one.images_per_second is None else f"{one.images_per_second:.1f}",
        "decision": one.decision,
    }


def _leaderboard(result: Race) -> str:
    """Returns the command that shows the runs of all finalists."""
    from featurebank.bank.catalog import ALL_OF

    first = result.banks[0]
    banks = first.name if len(result.banks) == 1 else f"{ALL_OF}{first.manifest.dataset['name']}"
    return f"featurebank leaderboard --bank {banks}"


def print_race(result: Race) -> None:
    """Prints the heads of the finalists, the winner, what was saved, and what comes next."""
    from featurebank.cli.leaderboard_view import print_board
    from featurebank.cli.options import by_metric
    from featurebank.metrics import metric_of
    from featurebank.words import duration

    by = ""
    if result.chosen is not None:
        metric = metric_of(result.metric, result.banks[0].classes)
        by = by_metric(metric)
        print_board(result.runs, result.chosen, more=_leaderboard(result), top=_SHOWN, metric=metric)
    echo(result.verdict)
    if result.unfinished:
        echo(f"unfinished: {result.unfinished}; the same command continues")
    echo(f"{duration(result.seconds)}, {result.savings}")
    if result.bank is not None:
        echo(f"bank: {shown_path(result.bank.path)}")
    if result.chosen is not None:
        echo(f"next: 'featurebank finetune --progressive{by}', or 'featurebank export best{by} -o model.keras'")
