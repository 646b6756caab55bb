"""`featurebank finetune`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.commands.heads import banks_option, metric_option
from featurebank.cli.context import Settings, as_json
from featurebank.cli.options import cluster_option, read_params, without_defaults
from featurebank.cli.several_banks import open_banks
from featurebank.cli.terminal import echo, print_json
from featurebank.training.optimizers import OPTIMIZERS
from featurebank.words import counted

if TYPE_CHECKING:
    from featurebank.finetuning.listing import ListedLayer
    from featurebank.runs.run import RunRecord


def _values(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Parses one number, or one per phase: "6" or "6,4,2"."""
    if value is None:
        return None
    kind = float if option.name == "learning_rate" else int
    try:
        numbers = [kind(part) for part in value.split(",")]
    except ValueError as error:
        message = f"'{value}': expected a number, or one for each phase, such as 6,4,2"
        raise click.BadParameter(message) from error
    return numbers[0] if len(numbers) == 1 else numbers


@click.command()
@click.option(
    "--from",
    "starts",
    multiple=True,
    metavar="RUN",
    help="Run to start from: best, the beginning of its id, or top:N for the best N heads; repeatable.  "
    "[default: best]",
)
@click.option(
    "--unfreeze", multiple=True, metavar="LAYERS",
    help="Add a phase that trains the network from the first layer whose name starts with LAYERS; all is the whole "
    "network, head only the head; repeatable.",
)  # fmt: skip
@click.option(
    "--progressive", is_flag=True,
    help="Add phases that train the network from its last layers to its first: one for each size of map, or for each "
    "quarter of the blocks of a transformer.",
)  # fmt: skip
@click.option("--epochs", callback=_values, metavar="N[,N...]", help="Maximum epochs of each phase.  [default: 6]")
@click.option(
    "--learning-rate",
    callback=_values,
    metavar="R[,R...]",
    help="Learning rate at the start of each phase.  [default: .01 for sgd, .001 for adagrad, otherwise .0001; a tenth "
    "if no batch normalisation is trained]",
)
@click.option(
    "--patience",
    callback=_values,
    metavar="N[,N...]",
    help="End a phase after N epochs without improvement.  [default: 3]",
)
@click.option("--keep-going", is_flag=True, help="Continue after a phase without improvement.")
@click.option("--optimizer", metavar="NAME", help=f"One of {', '.join(OPTIMIZERS)}.  [default: sgd]")
@click.option("--momentum", type=float, metavar="M", help="Momentum of sgd and rmsprop.  [default: .9]")
@click.option(
    "--weight-decay",
    type=float,
    metavar="SHARE",
    help="Each step subtracts this fraction of each weight, times the learning rate.  [default: none]",
)
@click.option(
    "--schedule", metavar="NAME",
    help="Schedule of the learning rate: constant, cosine, exponential, inverse_time or plateau.  [default: cosine]",
)  # fmt: skip
@click.option(
    "--warmup", type=float, metavar="EPOCHS", help="Epochs in which the learning rate rises from 0.  [default: 0]"
)
@click.option(
    "--batch-norm", metavar="train|frozen",
    help="Batch normalisation in trained layers: train updates its statistics, frozen keeps them.  [default: depends "
    "on the backbone]",
)  # fmt: skip
@click.option(
    "--layer-decay", type=float, metavar="SHARE",
    help="Learning rate of each block as a fraction of that of the next block.  [default: 1]",
)  # fmt: skip
@click.option(
    "--clip-norm",
    "global_clipnorm",
    type=float,
    metavar="NORM",
    help="Maximum norm of all gradients together.  [default: no limit]",
)
@click.option(
    "--augment",
    metavar="SPEC",
    help="Augmentation of training images, such as flip,rotate=10,zoom=.2.  [default: none]",
)
@click.option("--dropout", type=float, metavar="RATE", help="Dropout before the last layer.  [default: 0]")
@click.option(
    "--label-smoothing",
    type=float,
    metavar="SHARE",
    help="Fraction of the target that is spread over all classes.  [default: 0]",
)
@click.option(
    "--class-weight", type=click.Choice(["balanced"]), help="Weight each class by the inverse of its number of images."
)
@click.option("--batch-size", type=int, metavar="N", help="Images in a training step.  [default: 32]")
@click.option(
    "--monitor", metavar="METRIC",
    help="What decides which epoch is best: val_loss, or val_ and a metric.  [default: that of --metric]",
)  # fmt: skip
@click.option(
    "--normalize",
    is_flag=True,
    help="Scale input channels to mean 0 and variance 1 over the training images; for training from scratch.",
)
@click.option("--mixed-precision", is_flag=True, help="Compute in bfloat16; needs a GPU.")
@click.option("--validate-every", type=int, metavar="STEPS", help="Also validate every STEPS steps within an epoch.")
@click.option(
    "--validate-on", type=click.Choice(["all", "part"]),
    help="Validation images that --validate-every uses: all of them, or each time the next part.  [default: all]",
)  # fmt: skip
@click.option(
    "--checkpoint-every", type=int, metavar="STEPS",
    help="Write a checkpoint every STEPS steps, in addition to each minute and each epoch.  [default: 200]",
)  # fmt: skip
@click.option(
    "--seed", type=int, metavar="N",
    help="Seed of the order of images, augmentation and dropout.  [default: 0]",
)  # fmt: skip
@click.option(
    "-p", "params", multiple=True, metavar="KEY=VALUE", help="Set another option, such as nesterov=true; repeatable."
)
@metric_option
@banks_option
@cluster_option
@click.option(
    "--tensorboard", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Also write the curves to DIR for TensorBoard while training.",
)  # fmt: skip
@click.option("--print-layers", is_flag=True, help="List the layers that each phase would train, and stop.")
@as_json
@click.pass_obj
def finetune(
    settings: Settings, /, starts: tuple[str, ...], bank: str | None, tensorboard: Path | None,
    params: tuple[str, ...], cluster: str | None, metric: str, *,
    print_layers: bool, as_json: bool, **options: Any
) -> None:  # fmt: skip
    """Train the network under a trained head, phase by phase.

    After an interruption, the same command continues where it stopped.
    """
    from featurebank.cluster.training.finetunes import run_finetunes
    from featurebank.finetuning import list_layers, read_options
    from featurebank.finetuning.starts import find_starts
    from featurebank.metrics import metric_of
    from featurebank.runs.several import bank_of

    began = time.perf_counter()
    finetune_options = read_options({**without_defaults(options), **read_params(params)}, metric=metric)
    banks = open_banks(settings, bank)
    reporter = settings.reporter()
    found = find_starts(starts or ["best"], banks, reporter, metric=metric_of(metric, banks[0].classes))
    if print_layers:
        if len(found) > 1:
            message = f"--print-layers lists the layers of one fine-tune, but --from names {counted(len(found), 'run')}"
            raise click.UsageError(message)
        layers = list_layers(found[0], finetune_options, bank=bank_of(found[0], banks), reporter=reporter)
        _print_layers(layers, as_json=as_json)
        return
    runs = run_finetunes(
        found, finetune_options, banks=banks, tensorboard=tensorboard, cluster=cluster, reporter=reporter
    )
    if as_json:
        elapsed = round(time.perf_counter() - began, 3)
        values = [
            {**run.summary(), "file": str(run.saved_path), "finetune": run.finetune, "elapsed": elapsed} for run in runs
        ]
        print_json(values if len(values) > 1 else values[0])
        return
    for number, run in enumerate(runs):
        if number:
            echo("")
        _print(run)


def _print_layers(layers: Sequence[ListedLayer], *, as_json: bool) -> None:
    from dataclasses import asdict

    from featurebank.cli.tables import print_table

    if as_json:
        print_json([asdict(layer) for layer in layers])
        return
    rows = [(one.layer, one.kind, f"{one.parameters:,}", ", ".join(map(str, one.phases)) or "never") for one in layers]
    print_table(("layer", "kind", "parameters", "trained in phase"), rows, right=("parameters",), whole=("layer",))


def _print(run: RunRecord) -> None:
    from featurebank.cli.tables import print_table

    assert run.finetune is not None
    columns = ["phase", "from", "layers", "parameters", "epochs", "improved"]
    rows = [
        (p["unfreeze"], p["from"], p["layers"], f"{p['trained']:,}", p["epochs"], "yes" if p["improved"] else "no")
        for p in run.finetune["phases"]
    ]
    print_table(columns, rows, right=["layers", "parameters", "epochs"])
    before, after = run.finetune["epoch_0"]["accuracy"], run.metrics["val"]["accuracy"]
    by = run.finetune["gain"].get("metric")
    if by and None not in (by["before"], by["after"]):
        name, head = by["name"], run.finetune["from"]
        echo(f"run {run.run}: validation {name} {by['after']:.4f}; its head, {head}: {by['before']:.4f}")
        echo(f"accuracy {after:.4f}; its head: {before:.4f}")
    else:
        echo(f"run {run.run}: validation accuracy {after:.4f}; its head, {run.finetune['from']}: {before:.4f}")
    echo(run.finetune["gain"]["worth"])
    echo(f"model: {run.saved_path}")
