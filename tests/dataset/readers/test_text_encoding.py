"""Text files of spreadsheets and of Windows."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank import load_dataset
from featurebank.dataset.readers import text_encoding
from featurebank.dataset.readers.text_encoding import decode_text

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")
TABLE = "path{0}label\r\na.png{0}Kätzchen\r\nb.png{0}犬\r\n"


def test_the_examples_are_right() -> None:
    assert doctest.testmod(text_encoding).failed == 0


@given(st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1), st.sampled_from(ENCODINGS))
def test_every_encoding_gives_the_text(text: str, encoding: str) -> None:
    table = f"path,label\n{text}"  # a table begins with names of columns
    assert decode_text(table.encode(encoding)) == table


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_of_spreadsheets(tmp_path: Path, make: SimpleNamespace, encoding: str, delimiter: str) -> None:
    for number, name in enumerate(("a", "b")):
        make.save(tmp_path / f"{name}.png", number)
    (tmp_path / "t.csv").write_bytes(TABLE.format(delimiter).encode(encoding))
    found = load_dataset(tmp_path / "t.csv")
    assert found.ids == ("a.png", "b.png")
    assert found.classes == ("Kätzchen", "犬")
    assert found.unreadable == []


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lists_too(tmp_path: Path, make: SimpleNamespace, encoding: str) -> None:
    make.folder(tmp_path, each=1)
    (tmp_path / "train.txt").write_bytes("ant/0.png\r\nbee/0.png\r\n".encode(encoding))
    assert load_dataset(f"lists:{tmp_path}").ids == ("ant/0.png", "bee/0.png")


def test_other_encodings_are_named_with_the_line() -> None:
    with pytest.raises(ValueError, match=r"^line 3 is not UTF-8: save the file as UTF-8$"):
        decode_text("path,label\na,b\ncafé,x".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^line 2 is not UTF-16: "):
        decode_text("a\nb".encode("utf-16") + b"x")
