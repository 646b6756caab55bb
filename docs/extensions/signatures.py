"""Signatures for readers: types as a user calls them, without internal modules and aliases."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from docs.extensions.subjects import pages

STANDS_FOR = {"RunRecord": "featurebank.Run", "PlottedRun": "featurebank.Run"}
"""Bases of public classes, which a user knows by the public class."""


def signature_text(function: Callable[..., Any]) -> tuple[str, str]:
    """Returns the parameters of a function in brackets, and the type that it returns ("" if it is unknown)."""
    function = inspect.unwrap(function)
    signature = inspect.signature(function)
    hints = hints_of(function)
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        if name in {"self", "cls"} and not parameters:
            continue
        annotation = hints.get(name, parameter.annotation)
        text = "Any" if annotation is parameter.empty else type_text(annotation)
        parameters.append(parameter.replace(annotation=_Words(text), default=_default(parameter.default)))
    result = hints.get("return", signature.return_annotation)
    returned = "" if result is signature.empty else type_text(result)
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty)), returned


def field_types(kind: type) -> dict[str, str]:
    """Returns the type of each field of a class, as a text."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] == "featurebank":
            found |= {name: type_text(hint) for name, hint in hints_of(base).items()}
    return found


class _Words:
    """An annotation or a default that a signature prints as these words."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> Any:
    """Returns a default as a signature prints it; an object without a readable text becomes its name."""
    if value is inspect.Parameter.empty or isinstance(value, str | int | float | tuple | None):
        return value
    return _Words(repr(getattr(value, "name", "..."))) if not inspect.isclass(value) else _Words(value.__name__)


def hints_of(function: Any) -> Mapping[str, Any]:
    """Returns the annotations; those that only type checkers can look up stay texts."""
    try:
        return dict(get_type_hints(function, include_extras=True))
    except (NameError, TypeError):
        return dict(getattr(function, "__annotations__", {}))


def type_text(hint: Any) -> str:
    """Returns a type in the words of a signature.

    Example:
        >>> from typing import Annotated
        >>> type_text(Annotated[int | None, "at least 1"]), type_text(Literal["a", "b"] | None)
        ('int | None', "'a' | 'b' | None")
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return type_text(parts[0])
    if origin is Literal:
        return " | ".join(map(repr, parts))
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(text for part in parts for text in type_text(part).split(" | ")))
    if origin is None or not parts or _name(origin) in {"PathLike", "ndarray"}:
        return _plain_text(origin or hint)
    return f"{_name(origin)}[{', '.join(map(_listed, parts))}]"


def _plain_text(hint: Any) -> str:
    """Returns a type without parts in the words of a signature."""
    if isinstance(hint, str):
        return hint.replace("RunRecord", "Run")
    if hint in (None, types.NoneType):
        return "None"
    return "..." if hint is ... else _name(hint)


def _listed(part: Any) -> str:
    return f"[{', '.join(map(type_text, part))}]" if isinstance(part, list) else type_text(part)


def _name(kind: Any) -> str:
    """Returns the name of a class, which is a link where the class has a page."""
    name = str(getattr(kind, "__name__", kind)).rpartition(".")[2]
    if kind is bytes:
        return "~builtins.bytes"  # some classes have a field of this name, which would be linked
    full = pages().get(kind) or STANDS_FOR.get(name)
    return f"~{full}" if full else name
