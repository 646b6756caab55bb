"""The schema of pipeline files accepts what featurebank reads, and refuses unknown names as it does."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
from jsonschema import Draft7Validator

from featurebank.cli import group
from featurebank.pipeline.config import SECTIONS, parse_pipeline
from featurebank.pipeline.schema import pipeline_schema

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
SCHEMA = pipeline_schema()
VALIDATOR = Draft7Validator(SCHEMA)
LEAST: dict[str, Any] = {"dataset": {"name": "digits"}, "extract": {"backbone": "squeezenet"}}
"""The least that a pipeline has."""


def keys() -> list[tuple[str, str]]:
    return [(section, key) for section in SECTIONS for key in SCHEMA["properties"][section]["properties"]]


def with_value(section: str, key: str, value: Any) -> dict[str, Any]:
    race = {"race": {"backbones": ["a", "b"]}} if section == "race" else {}
    base = {**LEAST, **race}
    return {**base, section: {**base.get(section, {}), key: value}}


def test_it_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted(PIPELINES.rglob("*.toml")), ids=lambda path: path.name)
def test_each_pipeline_is_valid(path: Path) -> None:
    value = tomllib.loads(path.read_text(encoding="utf-8"))
    if "head" not in value:  # a grid
        assert list(VALIDATOR.iter_errors(value)) == []


@pytest.mark.parametrize(("section", "key"), keys())
def test_each_key_is_described_and_its_default_valid(section: str, key: str) -> None:
    schema = SCHEMA["properties"][section]["properties"][key]
    assert schema["description"].endswith(".")
    assert "None" not in schema["description"]
    if "default" in schema:
        assert VALIDATOR.is_valid(with_value(section, key, schema["default"]))


@pytest.mark.parametrize(("section", "key"), keys())
def test_a_misspelt_key_is_refused_as_by_the_reader(section: str, key: str) -> None:
    wrong = with_value(section, f"{key}x", 1)
    assert not VALIDATOR.is_valid(wrong)
    assert [problem.place for problem in parse_pipeline(wrong, Path()) if problem.place == (section, f"{key}x")]  # type: ignore[union-attr]
    assert not VALIDATOR.is_valid({**LEAST, "variant": [{"name": "a", section: {f"{key}x": 1}}]})


@pytest.mark.parametrize(
    ("section", "command"),
    [("dataset", "extract"), ("extract", "extract"), ("heads", "heads"), ("finetune", "finetune")],
)
def test_an_editor_offers_the_values_of_the_command_line(section: str, command: str) -> None:
    """Each option of the command with fixed values has them in the file, too."""
    compared = 0
    for option in group.commands[command].params:
        schema = SCHEMA["properties"][section]["properties"].get(option.name)
        if schema is not None and isinstance(option.type, click.Choice):
            offered = [
                one.get("enum", [one["const"]] if "const" in one else []) for one in schema.get("anyOf", [schema])
            ]
            assert {value for values in offered for value in values} == set(option.type.choices), option.name
            compared += 1
    assert compared


@pytest.mark.parametrize("section", SECTIONS)
def test_a_misspelt_section_is_refused(section: str) -> None:
    assert not VALIDATOR.is_valid({**LEAST, f"{section}x": {}})
    assert isinstance(parse_pipeline({**LEAST, f"{section}x": {}}, Path()), list)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (LEAST, True),
        ({"dataset": {"name": "digits"}}, False),
        ({"extract": {"backbone": "vgg16"}}, False),
        ({"dataset": {"name": "digits"}, "extract": {}}, False),
        ({"dataset": {"name": "digits"}, "race": {"backbones": ["vgg16", "resnet50"]}}, True),
        ({"dataset": {"name": "digits"}, "race": {}}, False),
        ({"dataset": {"name": "my/photos"}, "extract": {"backbone": "my_module:network", "batch_size": 0}}, False),
    ],
)
def test_what_a_file_needs_is_what_the_reader_needs(value: dict[str, Any], *, valid: bool) -> None:
    assert VALIDATOR.is_valid(value) == valid
    assert isinstance(parse_pipeline(value, Path()), list) != valid


def test_a_variant_may_leave_out_sections_and_keys() -> None:
    variants = [{"name": "a", "finetune": False, "extract": {"augment": False}}, {"name": "b"}]
    assert VALIDATOR.is_valid({**LEAST, "variant": variants})
    assert not VALIDATOR.is_valid({**LEAST, "variant": [{"finetune": False}]})
    assert not VALIDATOR.is_valid({**LEAST, "extract": {"backbone": "vgg16", "augment": False}})
