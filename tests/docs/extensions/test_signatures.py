"""Signatures are readable: no alias, no internal module, no object's address."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest

import featurebank
from docs.extensions.docstrings import documented_members
from docs.extensions.signatures import field_types, signature_text, type_text
from docs.extensions.subjects import pages

STRANGE = re.compile(r"(?<!~)\bfeaturebank\.\w|RunRecord|Annotated|Accepts|Like\b(?<!PathLike)|0x[0-9a-f]{6}")


def functions() -> Iterator[Any]:
    """Returns every public function, and every method of a documented class."""
    for kind in pages():
        if not inspect.isclass(kind):
            yield kind
            continue
        members = (inspect.getattr_static(kind, name, None) for name in documented_members(kind))
        yield from filter(inspect.isfunction, members)


def test_signatures_name_what_a_user_knows() -> None:
    documented = {f"~{name}" for name in pages().values()}
    for function in functions():
        text = " ".join(signature_text(function))
        assert {one for one in re.findall(r"~[\w.]+", text) if one != "~builtins.bytes"} <= documented
        assert not STRANGE.search(text)


@pytest.mark.parametrize("kind", [kind for kind in pages() if inspect.isclass(kind)], ids=lambda kind: kind.__name__)
def test_types_of_fields_are_readable(kind: type) -> None:
    assert not [text for text in field_types(kind).values() if re.search(r"(?<!~)\bfeaturebank\.|Annotated", text)]


def test_a_signature_has_defaults_and_leaves_self_out() -> None:
    parameters, returned = signature_text(featurebank.Bank.features)
    assert "self" not in parameters
    assert "tap: str = 'pooled'" in parameters
    assert returned == "ndarray"


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[int | None, "1 or more"], "int | None"),
        (Literal["a", "b"] | None, "'a' | 'b' | None"),
        (dict[str, featurebank.Bank], "dict[str, ~featurebank.Bank]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (str | Annotated[str | int, "x"], "str | int"),
    ],
)
def test_a_type_reads_as_in_source(hint: Any, text: str) -> None:
    assert type_text(hint) == text
