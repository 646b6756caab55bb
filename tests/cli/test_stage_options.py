"""The options of a command, the arguments of its function and the fields of its stage's dataclass are the same."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import pytest

from featurebank import (
    explain,
    export,
    extract,
    inspect_dataset,
    load_backbone,
    load_dataset,
    race,
    similar,
    train_heads,
)
from featurebank.backbone import BackboneOptions
from featurebank.cli import group
from featurebank.dataset import DatasetOptions
from featurebank.explanation.stage import ExplainOptions
from featurebank.extraction import ExtractOptions
from featurebank.finetuning import FinetuneOptions
from featurebank.grafting.export_stage import ExportOptions
from featurebank.grid import GridOptions
from featurebank.inspection.stage import InspectOptions
from featurebank.racing import RaceOptions
from featurebank.reporting.stage import ReportOptions
from featurebank.similarity.stage import SimilarOptions
from featurebank.system.options import StageOptions


def names_of(kind: type[StageOptions]) -> set[str]:
    return {field.name for field in fields(kind)}


IMAGES = {"dataset", "test_dataset", *names_of(DatasetOptions)} - {"test"}
NO_FIELDS = {
    "extract": {"backbones", "part", "dry_run", "folder"} | IMAGES | names_of(BackboneOptions),
    "inspect": {"output", "bank", "no_bank", "augment"} | IMAGES - {"seed"},
    "race": {"backbones", "folder"} | IMAGES | names_of(BackboneOptions),
    "heads": {"bank", "backbone", "grid", "head", "listed", "params", "one_se", "tensorboard", "test"},
    "finetune": {"starts", "cluster", "bank", "backbone", "tensorboard", "params", "print_layers", "metric"},
    "export": {"run", "file", "bank", "backbone", "no_proof", "no_certainty"},
    "similar": {"images", "bank", "backbone", "output", "force"},
    "report": {"banks"},
    "explain": {"run", "images", "output", "bank", "backbone", "force"},
}
"""What a command takes beside the options of its stage: which images and network, what is shown."""
BY_P = {"nesterov", "decay", "plateau_factor", "plateau_patience", "plateau_floor", "min_delta", "batch_norm_momentum"}
"""Options of a fine-tune that are given by -p."""
NEGATED = {"proof", "certainty"}
"""Options that are given by their opposite, as --no-proof."""
PARTS = [("extract", DatasetOptions), ("inspect", DatasetOptions), ("extract", BackboneOptions)]
"""Options of which a command has all, beside those of its stage."""
GLOBAL = {"cache", "local_cache", "threads", "ram", "quiet", "verbose", "as_json"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("extract", ExtractOptions),
        ("heads", GridOptions),
        ("finetune", FinetuneOptions),
        ("inspect", InspectOptions),
        ("export", ExportOptions),
        ("explain", ExplainOptions),
        ("similar", SimilarOptions),
        ("report", ReportOptions),
        ("race", RaceOptions),
    ],
)
def test_a_command_has_the_options_of_its_stage(name: str, kind: type[StageOptions]) -> None:
    options: dict[str, Any] = {one.name: one for one in group.commands[name].params}
    known = {one.name: one for one in fields(kind)}
    assert set(options) - NO_FIELDS[name] - GLOBAL == set(known) - BY_P - NEGATED
    check_defaults(name, kind)


@pytest.mark.parametrize(("name", "kind"), PARTS)
def test_a_command_has_all_options_about_images_and_networks(name: str, kind: type[StageOptions]) -> None:
    assert names_of(kind) <= {(one.name or "").removesuffix("_dataset") for one in group.commands[name].params}
    check_defaults(name, kind)


def check_defaults(name: str, kind: type[StageOptions]) -> None:
    options: dict[str, Any] = {one.name: one for one in group.commands[name].params}
    known = {one.name: one for one in fields(kind)}
    hints = get_type_hints(kind)
    for field in set(options) & set(known):
        option = options[field]
        default, stated = known[field].default, option.get_default(click.Context(group.commands[name]))
        if isinstance(stated, bool | int | float | str):
            assert stated == default, field
        words = re.search(r"\[default: ([^]]+)\]", option.help or "")
        if words and not words[1].startswith("that of ") and isinstance(default, int | float | str):
            assert type(default)(words[1]) == default, field
        if isinstance(option.type, click.Choice):
            literals = [part for part in (hints[field], *get_args(hints[field])) if get_origin(part) is Literal]
            choices = get_args(literals[0]) if literals else option.type.choices
            assert tuple(option.type.choices) == choices, field


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (extract, ExtractOptions),
        (train_heads, GridOptions),
        (inspect_dataset, InspectOptions),
        (export, ExportOptions),
        (explain, ExplainOptions),
        (similar, SimilarOptions),
        (load_dataset, DatasetOptions),
        (load_backbone, BackboneOptions),
        (race, RaceOptions),
        (race, BackboneOptions),
    ],
)
def test_a_function_has_the_options_of_its_stage(function: Any, kind: type[StageOptions]) -> None:
    arguments = inspect.signature(function).parameters
    for field in fields(kind):
        assert field.default is not MISSING
        assert arguments[field.name].default == field.default, field.name
