"""The keys of pipeline files in words."""

from __future__ import annotations

from typing import Any

import pytest

from docs.extensions.file_pages import pipeline_text, values_text
from docs.extensions.generated import table
from featurebank.pipeline.schema import pipeline_schema


def test_every_key_of_every_section_is_there() -> None:
    text = pipeline_text()
    for name, section in pipeline_schema()["properties"].items():
        if name != "variant":
            part = text.partition(f"## [{name}]\n")[2].partition("\n## ")[0]
            assert all(f"| `{key}` |" in part for key in section["properties"])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "default": 32}, "a whole number, 1 or more; default `32`"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "a number, above 0, 1 at most"),
        ({"enum": ["a", "b"]}, '`"a"`, `"b"`'),
        ({"anyOf": [{"type": "boolean"}, {"const": "once"}]}, 'true or false or `"once"`'),
        ({"type": "array", "items": {"type": "string"}}, "a list, each a text"),
    ],
)
def test_values_in_words(schema: dict[str, Any], words: str) -> None:
    assert values_text(schema) == words


def test_a_table_escapes_bars() -> None:
    assert table(["a"], [["x|y"]]) == "| a |\n|---|\n| x\\|y |"
