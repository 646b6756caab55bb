"""The directive `fields`: the fields of a class that a file holds, from its docstrings."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from typing import TYPE_CHECKING, Any

from docs.extensions.generated import register, table
from docs.extensions.signatures import field_types
from featurebank.system.options import field_meanings

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def fields_text(place: str) -> str:
    """Returns a table of the fields of a dataclass in Markdown.

    Args:
        place: "MODULE:CLASS" below `featurebank`.
    """
    module, _, name = place.partition(":")
    kind = getattr(import_module(f"featurebank.{module}"), name)
    types, meanings = field_types(kind), field_meanings(kind)
    names = [one.name for one in fields(kind) if not one.name.startswith("_")]
    rows = [(f"`{one}`", f"`{_short(types[one])}`", meanings.get(one, "")) for one in names]
    return table(("key", "type", "meaning"), rows) + "\n"


def _short(text: str) -> str:
    """Returns a type as JSON has it, without links."""
    words = {"~featurebank.": "", "Mapping[str, Any]": "object", "tuple[str, ...]": "list of str", "None": "null"}
    for name, word in words.items():
        text = text.replace(name, word)
    return text


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "fields", fields_text)
