"""The directive `errors`: every error and warning of featurebank, from the docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from docs.extensions.generated import register
from featurebank import errors

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def error_classes(base: type) -> list[type]:
    """Returns an error or warning and all below it, each before those that inherit from it."""
    return [base, *_below(base)]


def _below(base: type) -> Iterator[type]:
    """Yields the classes of `featurebank.errors` that inherit from a class, in the order of the file."""
    own = [one for one in vars(errors).values() if inspect.isclass(one) and base in one.__bases__]
    if base is errors.HeadInputError:
        own = [errors.NotFittedError]
    for kind in own:
        yield kind
        yield from _below(kind)


def errors_text() -> str:
    """Returns the sections of the page in Markdown."""
    module = "```{py:currentmodule} featurebank.errors\n```"
    parts = ["## Errors", module, *map(_entry, error_classes(errors.FeatureBankError))]
    return "\n\n".join([*parts, "## Warnings", *map(_entry, error_classes(errors.FeatureBankWarning))]) + "\n"


def _entry(kind: type) -> str:
    """Returns the description of an error: when it is raised, what to do, and what else it is."""
    when, remedy = advice(kind)
    others = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
    lines = [when, f"**What to do**: {remedy}" if remedy else "", f"It is also: {others}."]
    head = "exception" if issubclass(kind, Exception) else "class"
    is_public = kind in (errors.FeatureBankError, errors.FeatureBankWarning)
    index = ":no-index:\n\n" if is_public else "\n"
    body = "\n\n".join(filter(None, lines))
    return f"```{{py:{head}}} {kind.__name__}\n{index}{body}\n```"


def advice(kind: type) -> tuple[str, str]:
    """Returns when an error is raised, and what to do, from its docstring."""
    text = " ".join((inspect.getdoc(kind) or "").partition("Example:")[0].split())
    when, _, remedy = text.partition(". ")
    return f"{when.removesuffix('.')}.", remedy


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    return register(app, "errors", lambda argument: errors_text())
