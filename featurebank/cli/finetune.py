"""`featurebank finetune`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.heads import bank_option
from featurebank.cli.options import open_bank
from featurebank.cli.settings import Settings, as_json
from featurebank.cli.terminal import echo, print_json

if TYPE_CHECKING:
    from featurebank.finetuning.listing import ListedLayer
    from featurebank.heads.runs import Run

_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=1)


def _values(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """Reads one number, or one a phase: "6" or "6,4,2"."""
    if value is None:
        return None
    kind = float if option.name == "learning_rate" else int
    try:
        found = [kind(part) for part in value.split(",")]
    except ValueError as error:
        message = f"'{value}': expected a number, or one for each phase, as 6,4,2"
        raise click.BadParameter(message) from error
    return found[0] if len(found) == 1 else found


@click.command()
@click.option("--from", "start", default="best", show_default=True, metavar="RUN", help="Its head is the beginning.")
@click.option(
    "--unfreeze", multiple=True, metavar="LAYERS",
    help="A phase: train from the first layer whose name begins so, as conv5, a cut point, or all; repeatable.",
)  # fmt: skip
@click.option("--progressive", is_flag=True, help="Instead: a phase for each size of map, back from the top.")
@click.option(
    "--epochs", callback=_values, metavar="N[,N...]", help="At most; of all phases, or of each.  [default: 6]"
)
@click.option(
    "--learning-rate",
    callback=_values,
    metavar="R[,R...]",
    help="[default: .01 for sgd, .0001 for adam; a tenth where no batch normalisation is trained]",
)
@click.option("--patience", callback=_values, metavar="N[,N...]", help="Epochs without a better one.  [default: 3]")
@click.option("--keep-going", is_flag=True, help="Begin the next phase also after one that was no better.")
@click.option("--optimizer", help="sgd, adam, adamw, rmsprop or adagrad.  [default: sgd]")
@click.option("--momentum", type=float, help="[default: .9]")
@click.option("--weight-decay", type=float, metavar="SHARE", help="Of each weight, times the learning rate, a step.")
@click.option("--schedule", help="constant, cosine, exponential, inverse_time or plateau.  [default: cosine]")
@click.option("--warmup", type=float, metavar="EPOCHS", help="In which the learning rate rises from 0.")
@click.option("--batch-norm", help="train or frozen.  [default: the backbone's]")
@click.option("--layer-decay", type=float, metavar="SHARE", help="Learning rate of a block, of that of the next one.")
@click.option("--clip-norm", "global_clipnorm", type=_POSITIVE, help="Largest norm of all gradients together.")
@click.option("--augment", metavar="SPEC", help="As flip,rotate=10,zoom=.2; new in each epoch.")
@click.option("--dropout", type=float, help="Before the last layer.")
@click.option("--label-smoothing", type=float, metavar="SHARE", help="Of the target, spread over the classes.")
@click.option("--class-weight", type=click.Choice(["balanced"]), help="Weigh classes by their images.")
@click.option("--batch-size", type=_COUNT, help="[default: 32]")
@click.option("--monitor", help="val_accuracy or val_loss: what decides which epoch is best.  [default: val_accuracy]")
@click.option("--normalize", is_flag=True, help="From scratch: bring the training images to mean 0 and variance 1.")
@click.option("--mixed-precision", is_flag=True, help="Compute in bfloat16; on a GPU.")
@click.option("--validate-every", type=_COUNT, metavar="STEPS", help="Also validate within epochs.")
@click.option(
    "--validate-on", type=click.Choice(["all", "part"]),
    help="With --validate-every: all validation images, or the next part of them.  [default: all]",
)  # fmt: skip
@click.option("--checkpoint-every", type=_COUNT, metavar="STEPS", help="[default: 200, each minute and each epoch]")
@click.option("--seed", type=click.IntRange(min=0), help="[default: 0]")
@click.option("-p", "params", multiple=True, metavar="KEY=VALUE", help="Any other option of the fine-tune; repeatable.")
@bank_option
@click.option(
    "--tensorboard", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Also write the curves here as they come, for TensorBoard.",
)  # fmt: skip
@click.option("--print-layers", is_flag=True, help="List which layers each phase would train, and stop.")
@as_json
@click.pass_obj
def finetune(
    settings: Settings, /, start: str, bank: str | None, tensorboard: Path | None, params: tuple[str, ...], *,
    print_layers: bool, as_json: bool, **options: Any
) -> None:  # fmt: skip
    """Train the network under a head, too, phase by phase; interrupted, the same command goes on."""
    from featurebank.cli.heads import read_params
    from featurebank.finetuning import finetune as finetune_run
    from featurebank.finetuning import list_layers

    began = time.perf_counter()
    found = open_bank(settings, bank)
    reporter = settings.reporter()
    given = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    if print_layers:
        found_layers = list_layers(start, bank=found, reporter=reporter, **given, **read_params(params))
        _print_layers(found_layers, as_json=as_json)
        return
    run = finetune_run(
        start, bank=found, tensorboard=tensorboard, reporter=reporter, **given, **read_params(params)
    )  # fmt: skip
    if as_json:
        told = {**run.summary(), "file": str(run.saved_path), "finetune": run.finetune}
        print_json({**told, "elapsed": round(time.perf_counter() - began, 3)})
    else:
        _print(run)


def _print_layers(layers: Sequence[ListedLayer], *, as_json: bool) -> None:
    from dataclasses import asdict

    from featurebank.cli.tables import print_table

    if as_json:
        print_json([asdict(layer) for layer in layers])
        return
    rows = [(one.layer, one.kind, f"{one.parameters:,}", ", ".join(map(str, one.phases)) or "never") for one in layers]
    print_table(("layer", "kind", "parameters", "trained in phase"), rows, right=("parameters",), whole=("layer",))


def _print(run: Run) -> None:
    from featurebank.cli.tables import print_table

    assert run.finetune is not None
    columns = ["phase", "from", "layers", "parameters", "epochs", "better"]
    rows = [
        (p["unfreeze"], p["from"], p["layers"], f"{p['trained']:,}", p["epochs"], "yes" if p["improved"] else "no")
        for p in run.finetune["phases"]
    ]
    print_table(columns, rows, right=["layers", "parameters", "epochs"])
    before, after = run.finetune["epoch_0"]["accuracy"], run.metrics["val"]["accuracy"]
    echo(f"run {run.run}: validation accuracy {after:.4f}; its head, {run.finetune['from']}: {before:.4f}")
    echo(run.finetune["gain"]["worth"])
    echo(f"model: {run.saved_path}")
