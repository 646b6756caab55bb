"""Every public name, and every class that one returns, has one page."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest

import featurebank
from docs.extensions.docstrings import documented_members
from docs.extensions.signatures import hints_of
from docs.extensions.subjects import HIDDEN, INTERNAL, SUBJECTS, pages


def classes_in(hint: Any) -> Iterator[type]:
    """Returns the classes of featurebank in an annotation."""
    for kind in (hint, get_origin(hint)):
        if inspect.isclass(kind) and kind.__module__.startswith("featurebank."):
            yield kind
    for part in get_args(hint):
        yield from classes_in(part)


def returned_by(kind: Any) -> Iterator[type]:
    """Returns the classes that a function returns, or what the members of a class are."""
    if not inspect.isclass(kind):
        yield from classes_in(hints_of(inspect.unwrap(kind)).get("return"))
        return
    for name in documented_members(kind):
        member = inspect.getattr_static(kind, name, None)
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member
        yield from classes_in(hints_of(kind).get(name))
        yield from classes_in(hints_of(function).get("return"))


def test_every_public_name_is_on_one_page() -> None:
    named = Counter(name for subject in SUBJECTS for name in subject.names)
    assert set(named) == set(featurebank.__all__)
    assert named.most_common(1)[0][1] == 1
    assert len({subject.slug for subject in SUBJECTS}) == len(SUBJECTS)


def test_every_class_that_one_returns_has_a_page() -> None:
    returned = {found.__name__ for kind in pages() for found in returned_by(kind)}
    assert {kind.__name__ for kind in pages()} >= returned - INTERNAL
    assert len(returned) > 30


def test_what_is_hidden_exists() -> None:
    kinds = {kind.__name__: kind for kind in pages()}
    for name, members in HIDDEN.items():
        annotated = {field for base in kinds[name].__mro__ for field in inspect.get_annotations(base)}
        assert [member for member in members if not hasattr(kinds[name], member) and member not in annotated] == []


@pytest.mark.parametrize("full", pages().values())
def test_every_method_says_what_it_does(full: str) -> None:
    (kind,) = (one for one, name in pages().items() if name == full)
    assert inspect.getdoc(kind)
    if inspect.isclass(kind):
        codes = {name: inspect.getattr_static(kind, name, None) for name in documented_members(kind)}
        silent = [name for name, code in codes.items() if _is_code(code) and not inspect.getdoc(getattr(kind, name))]
        assert silent == []


def _is_code(member: Any) -> bool:
    return inspect.isfunction(member) or isinstance(member, property | classmethod | staticmethod)
