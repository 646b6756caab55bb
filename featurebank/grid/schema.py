"""The JSON Schema of grid files, by which editors complete and check them.

It is made from the registry of heads, so that it lists the heads and parameters of the installed version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurebank.heads.catalog import HEADS
from featurebank.heads.kinds import HeadKind
from featurebank.heads.lookup import list_parameters
from featurebank.system.options import to_json
from featurebank.training.common_parameters import CALIBRATE, IGNORE, SAMPLE_WEIGHT, USE

DRAFT = "http://json-schema.org/draft-07/schema#"
_OTHERS: Mapping[str, dict[str, Any]] = {
    "tap": {"description": "The tap that the heads are trained on; by default that of the command.", "type": "string"},
}
_NAME = {"description": "A name of your own for these heads, which tables show.", "type": "string", "minLength": 1}
_COMMON = {CALIBRATE: {"enum": ["temperature", "none"]}, SAMPLE_WEIGHT: {"enum": [USE, IGNORE]}}
"""The values of the parameters that every head takes."""


def grid_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 7) of grid files.

    Example:
        >>> grid_schema()["properties"]["head"]["items"]["anyOf"][0]["properties"]["kind"]["const"]
        'softmax'
    """
    return {
        "$schema": DRAFT,
        "title": "featurebank grid",
        "description": "A grid of heads: each [[head]] block lists heads of one kind.",
        "type": "object",
        "required": ["head"],
        "additionalProperties": False,
        "properties": {
            "head": {
                "description": "Heads of one kind; a list is an axis: the block has a head for each combination.",
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["kind"],
                    "anyOf": [*map(_block, HEADS.values()), _foreign_block()],
                },
            }
        },
    }


def _block(kind: HeadKind) -> dict[str, Any]:
    """Returns the schema of a block of one kind."""
    return {
        "title": kind.name,
        "description": f"{kind.what}; needs {kind.needs}",
        "properties": {
            "kind": {"description": f"The kind of the heads: {kind.what}.", "const": kind.name},
            "name": _NAME,
            **{name: _axis(schema) for name, schema in {**_OTHERS, **parameter_schemas(kind)}.items()},
        },
        "additionalProperties": False,
    }


def _foreign_block() -> dict[str, Any]:
    """Returns the schema of a block of heads by import path, whose parameters only their class knows."""
    return {
        "title": "a classifier by its import path",
        "description": "Any classifier with scikit-learn's interface, as sklearn.svm:LinearSVC",
        "properties": {
            "kind": {
                "description": "The import path of a classifier, as sklearn.svm:LinearSVC.",
                "type": "string",
                "pattern": ":",
            },
            "name": _NAME,
            **{name: _axis(schema) for name, schema in _OTHERS.items()},
        },
    }


def _axis(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a value, or of a list of values, which is an axis."""
    value = {name: part for name, part in schema.items() if name not in {"description", "default"}}
    about = {name: part for name, part in schema.items() if name in {"description", "default"}}
    return {**about, "anyOf": [value, {"type": "array", "minItems": 1, "items": value}]} if value else about


def parameter_schemas(kind: HeadKind) -> dict[str, dict[str, Any]]:
    """Returns the JSON Schema of each parameter that heads of a kind take, by name.

    Example:
        >>> from featurebank.heads.catalog import kind_of
        >>> parameter_schemas(kind_of("softmax"))["epochs"]
        {'description': 'At most.', 'default': 100, 'type': 'integer', 'minimum': 1}
    """
    checks = {check.name: check for check in reversed(kind.make({}).checks())}  # the first check of a name counts
    known = {one.name: one for one in list_parameters(kind)}
    schemas = {}
    for name in kind.parameter_names:
        check, one = checks.get(name), known.get(name)
        values = _COMMON.get(name) or (check.schema if check else {})
        words = check.expected if check and not values else ""  # what no schema says
        about = " ".join(sentence(text) for text in (one.meaning if one else "", words) if text)
        default = {} if one is None or one.default is None else {"default": to_json(one.default)}
        schemas[name] = {"description": about or f"See the documentation of {kind.target}.", **default, **values}
    return schemas


def sentence(text: str) -> str:
    """Returns a text that begins with a capital and ends with a stop."""
    return f"{text[0].upper()}{text[1:]}".rstrip(".") + "."
