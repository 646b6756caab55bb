"""Networks of other libraries: their names, and what happens where the library is not installed."""

from __future__ import annotations

import json
import sys
from fnmatch import fnmatch

import pytest
from commands import run_command

from featurebank import list_backbones, load_backbone
from featurebank.backbone.libraries import LIBRARIES, Library, LibraryEntry
from featurebank.backbone.naming import LIBRARY_WORDS, check_named, is_user_network
from featurebank.errors import MissingDependencyError, UnknownNameError
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


def entries(pattern: str) -> list[LibraryEntry]:
    known = [
        LibraryEntry("timm:vit_a", ("in21k", "in1k"), "224 px"),
        LibraryEntry("timm:vit_b"),
        LibraryEntry("timm:cnn"),
    ]
    return [one for one in known if fnmatch(one.name.removeprefix("timm:"), pattern)]


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Library, "search", lambda self, pattern: entries(pattern))


@pytest.mark.usefixtures("searched")
def test_names_are_searched_from_python() -> None:
    assert [one.name for one in list_backbones(source="timm", pattern="vit*")] == ["timm:vit_a", "timm:vit_b"]
    assert len(list_backbones(source="timm")) == 3
    assert [one.name for one in list_backbones(pattern="vgg*")] == ["vgg16", "vgg19"]
    with pytest.raises(UnknownNameError, match="did you mean 'vit_a'"):
        list_backbones(source="timm", pattern="vit_aa")
    with pytest.raises(UnknownNameError, match="keras_hub, timm"):
        list_backbones(source="pytorch")


@pytest.mark.usefixtures("searched")
@pytest.mark.parametrize("columns", [80, 120])
def test_names_are_searched_on_the_command_line(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*words: str) -> str:
        return run_command(("backbones", "--source", "timm", *words), monkeypatch, capsys)[0]

    monkeypatch.setenv("COLUMNS", str(columns))
    table = shown("vit*")
    assert "timm:vit_a" in table
    assert "cnn" not in table
    assert ("in1k" in table.replace("in21k", "")) == (columns == 120)
    assert max(map(len, table.splitlines())) <= columns
    assert json.loads(shown("vit_a", "--json")) == [
        {"name": "timm:vit_a", "weights": ["in21k", "in1k"], "note": "224 px"}
    ]
