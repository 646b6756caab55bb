"""The options that several commands have: which images they work on, and what a network of one's own expects."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import click

from featurebank.cli.context import Settings
from featurebank.system.progress import step

if TYPE_CHECKING:
    from pathlib import Path

    from featurebank.bank import Bank
    from featurebank.dataset import Dataset, DatasetOptions
    from featurebank.metrics import Metric

_BUNDLED = "digits"
_DIGITS = 9
"""A count has no more digits."""


@dataclass(frozen=True)
class Images:
    """Which images were asked for."""

    dataset: str | None
    """None is the bundled digits."""
    options: DatasetOptions

    def load(self) -> Dataset:
        """Loads the dataset."""
        from featurebank.dataset import load_images

        context = click.get_current_context(silent=True)
        if self.dataset is None and context and (settings := context.find_object(Settings)):
            settings.reporter().say(
                f"no --dataset: taking the bundled {_BUNDLED}; '--dataset FOLDER' takes your images"
            )
        with step(f"reading the list of images of {self.dataset or _BUNDLED}"):
            return load_images(self.dataset or _BUNDLED, self.options)


def count(value: str | int) -> int:
    """Reads a number of things, 1 or more; click's own type for it shows "x>=1" in the help."""
    text = str(value)
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS and int(text):
        return int(text)
    message = f"'{text}': expected a whole number of 1 or more"
    raise click.BadParameter(message)


def without_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options that were given; the others have the defaults of the stage."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def read_params(params: Sequence[str]) -> dict[str, Any]:
    """Parses "-p KEY=VALUE" options; comma-separated numbers are a list, such as hidden_units=256,128."""
    from featurebank.system.toml_files import parse_value

    values = {}
    for text in params:
        name, equals, value = text.partition("=")
        if not (equals and name):
            message = f"-p {text}: expected KEY=VALUE, such as -p learning_rate=0.01"
            raise click.UsageError(message)
        parts = [parse_value(part.strip()) for part in value.split(",")]
        numbers = len(parts) > 1 and all(type(part) in {int, float} for part in parts)
        values[name.strip()] = parts if numbers else parse_value(value.strip())
    return values


def split_fractions(context: click.Context, option: click.Parameter, value: str | None) -> list[float] | None:
    """Reads "--split .7,.15,.15"."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError as error:
        message = f"'{value}': expected two or three fractions, as .7,.15,.15"
        raise click.BadParameter(message) from error


preprocessing_option = click.option(
    "--preprocessing", metavar="NAME",
    help="Pixel values that the network expects: caffe (BGR, 0 to 255 minus ImageNet's mean), mean (the same in RGB), "
    "tf (RGB, -1 to 1), torch (RGB, 0 to 1, then ImageNet's mean and deviation), 0..1 (RGB) or none (RGB, 0 to 255). "
    "Needed for a network of your own.  [default: the network's own]",
)  # fmt: skip

_weights_option = click.option(
    "--weights", metavar="WEIGHTS",
    help="imagenet, random:SEED or a file.  [default: imagenet; for your own network, its current weights]",
)  # fmt: skip

image_size_option = click.option(
    "--image-size", type=int, metavar="PX",
    help="Side of the network's square input in pixels.  [default: the network's own]",
)  # fmt: skip

resize_option = click.option(
    "--resize", type=click.Choice(["auto", "crop", "whole", "stretch", "pad"]),
    help="How images become square: crop cuts out the central square, 7/8 of the shorter side; whole cuts out the "
    "largest central square; stretch ignores proportions; pad adds black bars; auto is whole for images no larger than "
    "the input, else crop.  [default: the network's own rule, which is auto for those of 'featurebank backbones']",
)  # fmt: skip

cluster_option = click.option(
    "--cluster", metavar="ADDRESS|local:N",
    help="Work on the workers of a Dask scheduler, as tcp://host:8786, or on N local processes.  [default: here]",
)  # fmt: skip

batch_size_option = click.option(
    "--batch-size", type=count, default=32, show_default=True, metavar="N",
    help="Images in one forward pass.",
)  # fmt: skip

levels_option = click.option(
    "--levels", metavar="LOW,HIGH|auto[:LOW,HIGH]",
    help="The values that become black and white in grey images of more than 8 bits, as 0,4095 for 12 bits; auto takes "
    "each image's least and largest value, auto:1,99 its percentiles.  [default: 0,65535]",
)  # fmt: skip


def backbone_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options about weights and input of a network; the command gets them as `network`, `BackboneOptions`."""

    @functools.wraps(command)
    def with_network(*args: Any, **options: Any) -> Any:
        from featurebank.backbone import BackboneOptions

        values = without_defaults({field.name: options.pop(field.name) for field in fields(BackboneOptions)})
        return command(*args, network=BackboneOptions(**values), **options)

    for option in (levels_option, resize_option, image_size_option, preprocessing_option, _weights_option):
        with_network = option(with_network)
    return with_network


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options about the images, their part and their split, and the argument DATASET in place of --dataset.

    The command gets them as `images`, an `Images`.
    """
    which = click.option(
        "--dataset",
        metavar="DATASET",
        help=f"Name or path of a dataset; 'featurebank datasets' lists the names.  [default: {_BUNDLED}]",
    )
    inner = _with_part_and_split(command)

    @functools.wraps(inner)
    def with_either(*args: Any, folder: str | None, dataset: str | None, **options: Any) -> Any:
        if folder and dataset:
            message = f"the images are named twice, by '{folder}' and by --dataset {dataset}: leave one of them out"
            raise click.UsageError(message)
        return inner(*args, dataset=folder or dataset, **options)

    return click.argument("folder", required=False, metavar="[DATASET]")(which(with_either))


def dataset_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """Does what `dataset_options` does, with the dataset as an argument of the command."""
    return click.argument("dataset")(_with_part_and_split(command))


def _with_part_and_split(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def with_images(*args: Any, dataset: str | None, test_dataset: str | None, **options: Any) -> Any:
        from featurebank.dataset import DatasetOptions

        options["test"] = test_dataset  # --test is another option, of other commands
        values = without_defaults({field.name: options.pop(field.name) for field in fields(DatasetOptions)})
        return command(*args, images=Images(dataset, DatasetOptions(**values)), **options)

    for option in reversed(_OPTIONS):
        with_images = option(with_images)
    return with_images


def _names(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    names = [name.strip() for part in value for name in part.split(",")]
    return [name for name in names if name] if value else None


def _columns(context: click.Context, option: click.Parameter, value: str | None) -> dict[str, str] | None:
    """Reads "--columns path=file,label=class"."""
    if value is None:
        return None
    pairs = [part.partition("=") for part in value.split(",")]
    if not all(equals and name.strip() and column.strip() for name, equals, column in pairs):
        message = f"'{value}': expected NAME=COLUMN, as path=file,label=class"
        raise click.BadParameter(message)
    columns: dict[str, str] = {}
    for name, column in ((name.strip(), column.strip()) for name, _, column in pairs):
        if columns.setdefault(name, column) != column:
            message = f"'{value}': two columns for '{name}', '{columns[name]}' and '{column}'; leave one out"
            raise click.BadParameter(message)
    return columns


_OPTIONS = (
    click.option(
        "--layout", type=click.Choice(["classes", "splits"]),
        help="Whether the folders inside the dataset are classes or splits.  [default: decided by their names]",
    ),
    click.option(
        "--unlabelled", type=click.Choice(["keep"]),
        help="Keep images without a label: rows of a table with an empty label, images in a folder named unlabelled.  "
        "[default: an empty label is an error, and a folder of this name is a class]",
    ),
    click.option(
        "--test-dataset", metavar="DATASET",
        help="Another dataset, whose images become the test split; --split then takes two fractions.",
    ),
    click.option(
        "--columns", callback=_columns, metavar="path=A,label=B",
        help="Columns of a table that hold path, label, split and fold.  [default: found by their usual names]",
    ),
    click.option(
        "--classes", multiple=True, callback=_names, metavar="A,B,...",
        help="Use these classes only; repeatable.  [default: all]",
    ),
    click.option("--limit", type=int, metavar="N", help="Use N images in all.  [default: all]"),
    click.option("--per-class", type=int, metavar="N", help="Use N images of each class.  [default: all]"),
    click.option(
        "--split", callback=split_fractions, metavar="TRAIN,VAL[,TEST]",
        help="Fractions of the splits.  [default: .7,.15,.15]"
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split.", metavar="N"),
    click.option(
        "--groups", metavar="COLUMN|path:REGEX",
        help="Images that belong together, as those of one patient or one camera: a column of the dataset, or the part "
        "(?P<group>...) of the path. The images of a group share a split and a fold.  [default: no groups]",
    ),
)  # fmt: skip


def open_bank(settings: Settings, name: str | None) -> Bank:
    """Opens the bank that a command works on, says which and why, and notes that it was used.

    Args:
        settings: what stands before the command.
        name: as `--bank` gives it; None takes the last used.
    """
    from featurebank.bank import Bank
    from featurebank.bank.catalog import find_bank_path
    from featurebank.bank.last_use import choice_reason, note_use
    from featurebank.storage.caches import shown_path
    from featurebank.words import counted

    path = find_bank_path(settings.cache, name)
    bank, why = Bank(path), choice_reason(path, name)
    holds = f"{counted(len(bank), 'image')}, {counted(len(bank.classes), 'class')}"
    settings.reporter().say(f"bank: {shown_path(path)} ({holds}){why}")
    note_use(settings.cache, path, click.get_current_context().info_name or "")
    return bank


def choose_bank(settings: Settings, name: str | None) -> Path:
    """Returns the directory of the bank that a command looks at; where no name is given, says which and why."""
    from featurebank.bank.catalog import find_bank_path
    from featurebank.bank.last_use import choice_reason
    from featurebank.storage.caches import shown_path

    path = find_bank_path(settings.cache, name)
    if name is None:
        settings.reporter().say(f"bank: {shown_path(path)}{choice_reason(path, name)}")
    return path


def by_metric(metric: Metric | None) -> str:
    """Returns the option that ranks by a metric, for commands in messages; empty for the accuracy."""
    name = "accuracy" if metric is None else metric.name.replace("'", "'\"'\"'")
    return "" if name == "accuracy" else f" --metric '{name}'"
