"""Networks of other libraries: their names, and what happens where the library is not installed."""

from __future__ import annotations

import sys

import pytest

from featurebank import load_backbone
from featurebank.backbone.libraries import LIBRARIES
from featurebank.backbone.naming import LIBRARY_WORDS, check_named, is_user_network
from featurebank.errors import MissingDependencyError
from featurebank.system.imports.torch import import_torch


def test_the_words_are_those_of_the_table() -> None:
    assert tuple(LIBRARIES) == LIBRARY_WORDS


@pytest.mark.parametrize("word", LIBRARY_WORDS)
def test_a_library_that_is_not_installed_is_named_with_its_extra(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = LIBRARIES[word]
    monkeypatch.setattr("featurebank.backbone.libraries.find_spec", lambda package: None)
    with pytest.raises(MissingDependencyError, match=rf"pip install 'featurebank\[{library.extra}\]'"):
        load_backbone(f"{word}:any")


@pytest.mark.parametrize("word", LIBRARY_WORDS)
def test_a_bank_may_name_a_network_of_a_library(word: str) -> None:
    assert not is_user_network(f"{word}:any")
    check_named(f"{word}:any", "the bank")  # it is no code of the user


def test_pytorch_that_cannot_be_imported_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="pip install torch"):
        import_torch()
