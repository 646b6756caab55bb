"""The page of errors: every class, when it is raised, and what to do."""

from __future__ import annotations

import inspect

import pytest

from docs.extensions.error_pages import advice, error_classes, errors_text
from featurebank import errors

CLASSES = [*error_classes(errors.FeatureBankError), *error_classes(errors.FeatureBankWarning)]


def test_every_class_of_the_module_is_there_once() -> None:
    own = {one for one in vars(errors).values() if inspect.isclass(one) and one.__module__ == errors.__name__}
    assert set(CLASSES) == {one for one in own if issubclass(one, Exception)} | {errors.NotFittedError}
    assert len(CLASSES) == len(set(CLASSES))
    text = errors_text()
    assert all(text.count(f"}} {kind.__name__}\n") == 1 for kind in CLASSES)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_says_what_to_do(kind: type) -> None:
    when, remedy = advice(kind)
    assert when[0].isupper()
    assert remedy.endswith(".") or kind in (errors.FeatureBankError, errors.FeatureBankWarning)
