"""The JSON Schema of pipeline files, by which editors complete and check them.

It is made from the options of the stages, so that it has the keys of the installed version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from featurebank.backbone import known_backbones
from featurebank.backbone.resize import RULES
from featurebank.backbone.spec import IMAGENET
from featurebank.dataset import known_datasets
from featurebank.engine.table import ENGINES
from featurebank.grid.files import built_in_grids
from featurebank.grid.schema import DRAFT, sentence
from featurebank.metrics import METRICS
from featurebank.pipeline.config import SECTIONS, key_of
from featurebank.system.options import field_meanings, option_schemas
from featurebank.training.optimizers import OPTIMIZERS
from featurebank.training.options import TrainingOptions
from featurebank.training.schedules import SCHEDULES

_FALSE = {"const": False}


def pipeline_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 7) of pipeline files.

    Example:
        >>> list(pipeline_schema()["properties"])
        ['dataset', 'extract', 'race', 'heads', 'finetune', 'select', 'report', 'variant']
    """
    sections = {name: _section(name) for name in SECTIONS}
    return {
        "$schema": DRAFT,
        "title": "featurebank pipeline",
        "description": "All stages from images to a model; 'featurebank run FILE' runs what is not up to date.",
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": ["variant"]}, _complete("extract", ["backbone"]), _complete("race", [])],
        "properties": {**sections, "variant": _variants(sections)},
    }


def _complete(networks: str, keys: Iterable[str]) -> dict[str, Any]:
    """Returns the schema of a file without variants that has all it needs.

    Args:
        networks: the section that names the network or the networks.
        keys: the keys that this section needs beside those without a default.
    """
    needed = {name: [*_without_default(name), *(keys if name == networks else ())] for name in SECTIONS}
    properties = {name: {"required": names} for name, names in needed.items() if names}
    return {"required": ["dataset", networks], "properties": properties}


def _without_default(section: str) -> list[str]:
    return [key_of(one) for one in fields(SECTIONS[section]) if one.default is MISSING]


def _section(name: str) -> dict[str, Any]:
    """Returns the schema of a section; the schema of the whole file says which keys it must have."""
    kind = SECTIONS[name]
    schemas, training = option_schemas(kind), field_meanings(TrainingOptions)
    properties = {}
    for one in fields(kind):
        schema = schemas[one.name]
        about = schema["description"]
        if not about or about.startswith("see `TrainingOptions`"):
            about = training.get(one.name, about)
        properties[key_of(one)] = {**_suggested(name, key_of(one), schema), "description": sentence(about)}
    return {
        "description": sentence((kind.__doc__ or "").split("\n")[0].partition(": ")[2]),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _suggested(section: str, key: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a key with the known values, which an editor offers; all other values stay valid."""
    known = _known_values(section).get(key)
    if known is None:
        return dict(schema)
    about = {name: part for name, part in schema.items() if name in {"description", "default"}}
    value = {name: part for name, part in schema.items() if name not in about}
    return {**about, "anyOf": [{"enum": [*known]}, *value.get("anyOf", [value])]}


def _known_values(section: str) -> dict[str, Iterable[str]]:
    """Returns the values that are known of keys that take any text."""
    metrics: dict[str, Iterable[str]] = {"metric": METRICS}
    known: dict[str, dict[str, Iterable[str]]] = {
        "dataset": {
            "name": [one.name for one in known_datasets() if ":" not in one.name],
            "layout": ["classes", "splits"],
        },
        "extract": {
            "backbone": [spec.name for spec in known_backbones()],
            "engine": ["auto", *ENGINES],
            "resize": RULES,
            "weights": [IMAGENET],
        },
        "heads": {"grid": built_in_grids(), **metrics},
        "finetune": {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "from": ["best"], "class_weight": ["balanced"]},
        "select": metrics,
        "report": metrics,
    }
    return known.get(section, {})


def _variants(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the schema of the variants: false leaves out a section, or a key, of the file."""
    properties: dict[str, Any] = {
        "name": {"description": "The name of the variant.", "type": "string", "pattern": r"\S"}
    }
    for name, section in sections.items():
        keys = {key: _or_false(schema) for key, schema in section["properties"].items()}
        properties[name] = _or_false({**section, "properties": keys})
    return {
        "description": "The same pipeline with other values: each variant overrides some keys.",
        "type": "array",
        "minItems": 1,
        "items": {"type": "object", "required": ["name"], "additionalProperties": False, "properties": properties},
    }


def _or_false(schema: Mapping[str, Any]) -> dict[str, Any]:
    about = {"description": schema["description"]}
    return {**about, "anyOf": [{name: part for name, part in schema.items() if name != "description"}, _FALSE]}
