"""Columns of tables under the names that people give them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from featurebank import load_dataset
from featurebank.dataset.readers.column_names import ALIASES, choose_columns
from featurebank.dataset.sources.rows import Problems
from featurebank.errors import DatasetError


def choose(*names: str, **asked: str) -> tuple[dict[str, str], list[str]]:
    return choose_columns(names, asked, Problems("t"))


def refusal(*names: str, **asked: str) -> str:
    with pytest.raises(DatasetError) as refused:
        choose(*names, **asked)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_plain_names_need_no_word() -> None:
    found, notes = choose("label", "split", "path", "filename", "class", "size")
    assert found == {"path": "path", "label": "label", "split": "split"}
    assert notes == []


@pytest.mark.parametrize("role", sorted(ALIASES))
def test_usual_names_are_understood_in_any_case(role: str) -> None:
    others = {"path": ("label",), "label": ("path",), "split": ("path", "label"), "weight": ("path", "label")}[role]
    for name in ALIASES[role] - {role}:
        for spelling in (name, name.upper(), name.replace("_", " ").title(), name.replace("_", "-")):
            found, notes = choose(spelling, *others)
            assert found[role] == spelling
            assert notes == [f"{role} is read from the column '{spelling}'"]


def test_what_is_asked_for_is_taken_and_needs_no_word() -> None:
    assert choose("a", "b", "path", path="a", label="b") == ({"path": "a", "label": "b"}, [])
    assert "has no column 'c', which --columns names for path (found a, label)" in refusal("a", "label", path="c")


def test_what_is_not_clear_is_asked_for() -> None:
    message = refusal("filename", "image", "label")
    assert "has 2 columns that may be the path, filename, image: use --columns path=filename or path=image" in message
    assert "has no column 'label' (found file, kind): expected the columns path,label[,split]" in refusal(
        "file", "kind"
    )


def test_through_the_door(tmp_path: Path, make: SimpleNamespace) -> None:
    for number, name in enumerate(("a", "b", "c")):
        make.save(tmp_path / f"{name}.png", number)
    path = tmp_path / "t.csv"
    path.write_text("path,where,kind,label\nx,a.png,cat,1\ny,b.png,dog,2\nz,c.png,dog,3\n")
    found = load_dataset(path, columns={"path": "where", "label": "kind"})
    assert found.ids == ("a.png", "b.png", "c.png")
    assert found.classes == ("cat", "dog")
    assert found.metadata == {}
    assert "column 'label' is omitted: 'kind' is used in its place" in found.warnings()
    assert found.spec == f"manifest:{path}#path=where,label=kind"
    again = load_dataset(found.spec)
    assert (again.ids, again.classes, again.name) == (found.ids, found.classes, found.name)
