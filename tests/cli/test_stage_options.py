"""The options of a command, the arguments of its function and the fields of its stage's dataclass are the same."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import pytest

import featurebank
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
    "export": {"run", "file", "bank", "backbone", "no_proof", "no_certainty", "no_seen"},
    "similar": {"images", "bank", "backbone", "output", "force"},
    "report": {"banks"},
    "explain": {"run", "images", "output", "bank", "backbone", "force"},
}
"""What a command takes beside the options of its stage: which images and network, what is shown."""
BY_P = {"nesterov", "decay", "plateau_factor", "plateau_patience", "plateau_floor", "min_delta", "batch_norm_momentum"}
"""Options of a fine-tune that are given by -p."""
NEGATED = {"proof", "certainty", "seen"}
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


FUNCTIONS = {
    "run": "read_variants run_variants", "datasets": "list_datasets", "inspect": "load_dataset inspect_dataset",
    "backbones": "list_backbones load_backbone", "extract": "load_dataset load_backbone extract",
    "race": "load_dataset race", "heads": "train_heads select evaluate_test",
    "leaderboard": "leaderboard select evaluate_test", "finetune": "finetune finetune_all", "explain": "explain",
    "export": "export graft", "predict": "predict", "evaluate": "load_dataset evaluate", "similar": "similar",
    "advise": "advise correct_labels", "report": "report",
}  # fmt: skip
"""The public functions that do the work of a command, in this order."""
WITHOUT_FUNCTION = {"curves", "cache", "schema", "doctor", "completion"}
"""Commands without one: members of `Run` and `Bank` have curves and upkeep, the others are about the command line."""
OTHER_NAMES = {
    "run": {"pipeline": "path variants"},
    "inspect": {"dataset": "spec", "test_dataset": "test", "augment": "augmentation"},
    "backbones": {"network": "name pattern"},
    "extract": {"backbones": "backbone name", "folder": "spec", "test_dataset": "test"},
    "race": {"folder": "spec", "test_dataset": "test"}, "heads": {"head": "grid", "params": "grid", "test": "run"},
    "leaderboard": {"all_banks": "bank", "test": "run runs"}, "finetune": {"starts": "run runs", "params": "options"},
    "export": {"file": "path", "no_proof": "proof", "no_certainty": "certainty", "no_seen": "seen"},
    "evaluate": {"dataset": "spec", "test_dataset": "test", "part": "split"}, "report": {"output": "path"},
}  # fmt: skip
"""Other names of options in the functions; "all-of:DATASET" is a bank, as --all is."""
CODE = "the name of a network whose code a caller imports"
ONLY_ON_THE_COMMAND_LINE = {
    "run": {"dry_run": "an estimate in words", "measure": "of --dry-run"},
    "inspect": {"output": "Inspection.write_page", "no_bank": "without a bank"},
    "backbones": {"layers": "Backbone.spec"},
    "extract": {"dry_run": "an estimate in words"},
    "heads": {"listed": "lists in words", "backbone": CODE},
    "leaderboard": {"sort": "sorted", "top": "a slice", "csv_file": "Leaderboard.to_frame", "backbone": CODE},
    "finetune": {"print_layers": "a list in words"},
    "explain": {"output": "Explanations.save", "force": "of --output"},
    "predict": {"table": "a list of predictions"},
    "similar": {"output": "SimilarImages.write_page", "force": "of --output", "backbone": CODE},
    "advise": {
        "output": "Advice.write_page", "csv": "Advice.write_csv", "queue": "Advice.write_csv", "force": "of --output",
        "backbone": CODE,
    },
}  # fmt: skip
"""Options that no parameter of the functions has, with what programs have in their place."""
ONLY_IN_PROGRAMS = {
    "backbones": {"weights", "resize", "levels"},  # a description needs none
    "heads": {"rule"}, "leaderboard": {"rule"},  # --one-se is the rule that there is beside the best
    "finetune": BY_P, "export": {"tap"},  # of a fitted head, which has no run
}  # fmt: skip
"""Parameters that no option of the command has."""


@pytest.mark.parametrize("name", [name for name in group.commands if name not in WITHOUT_FUNCTION])
def test_a_command_and_its_functions_can_do_the_same(name: str) -> None:
    options = {one.name or "" for one in group.commands[name].params} - GLOBAL
    functions = [getattr(featurebank, function) for function in FUNCTIONS[name].split()]
    parameters = {parameter for one in functions for parameter in inspect.signature(one).parameters}
    if name == "finetune":
        parameters |= names_of(FinetuneOptions)  # they are its `**options`
    meanings = {option: set(OTHER_NAMES.get(name, {}).get(option, option).split()) for option in options}
    alone = {option for option, names in meanings.items() if not names <= parameters}
    assert alone == set(ONLY_ON_THE_COMMAND_LINE.get(name, {}))
    more = parameters - options - set().union(*meanings.values()) - {"cache", "progress", "reporter"}
    assert more == set(ONLY_IN_PROGRAMS.get(name, ()))
