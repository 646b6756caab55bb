"""Docstrings for Sphinx: names in backticks become links where they have a page, and code elsewhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import featurebank
from docs.extensions.subjects import HIDDEN, pages

_SECTION = re.compile(r"^(Args|Attributes):$")
_ENTRY = re.compile(r"^    (\w+): ")
MADE_BY_USERS = {featurebank.FeatureBank}
"""Public classes whose constructor users call."""
_SPAN = re.compile(r"``.+?``|(?<![`\w:])`([^`\n]+(?:\n[^`\n]+)?)`(?![`\w])|\b(?!https?:)\w+://")
"""Code, a name, or the beginning of an address that no browser opens, which docutils would make a link."""


def linked(lines: list[str], owner: Any = None) -> list[str]:
    """Returns the lines of a docstring with roles of Sphinx in place of backticks.

    Args:
        lines: the docstring in Google's form.
        owner: the class whose members may be called by their names alone; None for none.
    """
    names = _targets(owner)
    text = "\n".join(lines).rstrip()
    head, mark, examples = text.partition("\nExample:\n")
    return (_SPAN.sub(lambda match: _changed(match, names), head) + mark + examples).split("\n")


def _changed(match: re.Match[str], names: Mapping[str, str]) -> str:
    if match[1] is not None:
        return _role(match[1], names)
    return match[0] if match[0].startswith("`") else f"\\{match[0]}"


def _role(span: str, names: Mapping[str, str]) -> str:
    text = " ".join(span.split())
    name = text.removesuffix("()").removeprefix("featurebank.")
    if target := names.get(name):
        return f":py:obj:`{text} <{target}>`"
    return f"``{text}``"


@cache
def _targets(owner: Any) -> dict[str, str]:
    """Returns what can be linked: documented names, their members, and the members of the class by name alone."""
    found: dict[str, str] = {}
    for kind, full in pages().items():
        short = full.rpartition(".")[2]
        found[short] = full
        if inspect.isclass(kind):
            members = documented_members(kind)
            found |= {f"{short}.{name}": f"{full}.{name}" for name in members}
            if kind is owner:
                own = {name: f"{full}.{name}" for name in members}
                found = {**own, **found}
    return found


def documented_members(kind: type) -> list[str]:
    """Returns the public members that a class and its bases in featurebank define, in their order.

    Fields of dataclasses and named tuples count, unless the docstring of the class describes them; what scikit-learn,
    Python or a base of another package adds does not.
    """
    hidden = described_fields(kind) | HIDDEN.get(kind.__name__, set())
    found: dict[str, None] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] != "featurebank":
            continue
        for name in [*inspect.get_annotations(base), *vars(base)]:
            if not name.startswith("_") and name not in hidden and _is_documented(base, name):
                found.setdefault(name)
    return list(found)


def _is_documented(base: type, name: str) -> bool:
    value: Any = vars(base).get(name)
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    is_code = inspect.isfunction(value) or isinstance(value, property) or hasattr(value, "func")
    return is_code or name in inspect.get_annotations(base)


def described_fields(kind: type) -> set[str]:
    """Returns the fields that the docstring of a class describes, in its section "Args" or "Attributes"."""
    if kind in MADE_BY_USERS:
        return set()
    fields = {name for base in kind.__mro__ for name in inspect.get_annotations(base)}
    return {name for name in _entries((inspect.getdoc(kind) or "").split("\n")) if name in fields}


def _entries(lines: list[str]) -> dict[str, int]:
    """Returns the line of each entry in the sections "Args" and "Attributes"."""
    found, inside = {}, False
    for place, line in enumerate(lines):
        if line and not line.startswith(" "):
            inside = _SECTION.match(line) is not None
        elif inside and (match := _ENTRY.match(line)):
            found[match[1]] = place
    return found


def with_attributes(lines: list[str], kind: type, types: Mapping[str, str]) -> list[str]:
    """Returns the docstring of a class whose objects featurebank makes: its arguments are attributes, with types.

    Args:
        lines: the docstring.
        kind: the class.
        types: the type of each field, as a text.
    """
    fields = described_fields(kind)
    if not fields:
        return lines
    result: list[str] = []
    inside = False
    for line in lines:
        if line and not line.startswith(" "):
            result += [""] if inside else []
            inside = _SECTION.match(line) is not None
        if not inside:
            result.append(line)
        elif match := _ENTRY.match(line):
            name, text = match[1], line[match.end() :]
            typed = [f"   :type: {types[name]}"] if name in types else []
            result += ["", f".. py:attribute:: {name}", *typed, "", f"   {text}"]
        elif line.startswith(" "):
            result.append(f"   {line.strip()}")
    return [*result, ""]
