"""The directive `pipeline-keys`: the keys of pipeline files, from the schema that editors use."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from docs.extensions.generated import register, table
from featurebank.pipeline.schema import pipeline_schema

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_MOST = 8
"""The largest number of values that are listed."""


def pipeline_text() -> str:
    """Returns a table of keys for each section of a pipeline file, in Markdown."""
    schema = pipeline_schema()
    parts = []
    for name, section in schema["properties"].items():
        if name == "variant":
            continue
        rows = [(f"`{key}`", values_text(one), one["description"]) for key, one in section["properties"].items()]
        parts.append(f"## [{name}]\n\n{section['description']}\n\n{table(('key', 'value', 'meaning'), rows)}")
    return "\n\n".join(parts) + "\n"


def values_text(schema: Mapping[str, Any]) -> str:
    """Returns in words which values a schema allows, and the default."""
    text = _allowed(schema)
    return f"{text}; default `{json.dumps(schema['default'])}`" if "default" in schema else text


def _allowed(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(filter(None, map(_allowed, schema["anyOf"]))))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        values = [f"`{json.dumps(value)}`" for value in schema["enum"]]
        more = f" and {len(values) - _MOST} more" if len(values) > _MOST else ""
        return ", ".join(values[:_MOST]) + more
    return _type_words(schema)


def _type_words(schema: Mapping[str, Any]) -> str:
    """Returns in words a type with its range."""
    nouns = {"string": "a text", "boolean": "true or false", "object": "a table", "integer": "a whole number"}
    if schema.get("type") == "array":
        return f"a list, each {_allowed(schema.get('items', {}))}"
    words = nouns.get(schema.get("type", ""), "a number" if schema.get("type") == "number" else "see the meaning")
    limits = {"minimum": "{} or more", "exclusiveMinimum": "above {}", "maximum": "{} at most"}
    limits |= {"exclusiveMaximum": "below {}"}
    ranges = [text.format(schema[name]) for name, text in limits.items() if name in schema]
    return f"{words}, {', '.join(ranges)}" if ranges else words


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "pipeline-keys", lambda argument: pipeline_text())
