"""Tables of images: what people write into them, and what is wrong with what they write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import DatasetError, MissingDependencyError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, make: SimpleNamespace) -> Write:
    """Writes a table beside four images, a.png, b.png, c.png and "d e.png"."""
    for number, name in enumerate(("a", "b", "c", "d e")):
        make.save(tmp_path / f"{name}.png", number)

    def write(text: str | bytes, name: str = "m.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def message_of(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(f"manifest:{path}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_become_columns(write: Write, tmp_path: Path, make: SimpleNamespace) -> None:
    path = write("path,label,split\na.png,cat,train\nb.png,dog,TEST\nc.png,cat,valid\nd e.png,dog,training\n")
    dataset = load_dataset(f"manifest:{path}")
    assert dataset.ids == ("a.png", "b.png", "c.png", "d e.png")
    assert dataset.classes == ("cat", "dog")
    assert dataset.labels.tolist() == [0, 1, 0, 1]
    assert dataset.splits.tolist() == [TRAIN, TEST, VAL, TRAIN]
    assert dataset.unreadable == []
    np.testing.assert_array_equal(dataset.image(3), make.picture(3))
    assert dataset.spec == f"manifest:{tmp_path}/m.csv"
    assert dataset.name.startswith("m-")
    assert load_dataset(path).spec == dataset.spec  # a bare path means the same
    assert dataset.metadata == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"\xef\xbb\xbfpath,label\r\na.png,cat\r\nb.png,dog\r\n", "bom.csv"),
        (b"path\tlabel\na.png\tcat\nb.png\tdog", "tabs.tsv"),
        (b' path , label \n"a.png", cat\n\nb.png,dog \n', "blanks.CSV"),
        (b'note,label,path\n"two\nlines, and ""quotes""",cat,a.png\n,dog,b.png\n', "quotes.csv"),
    ],
)
def test_spellings(write: Write, text: bytes, name: str) -> None:
    dataset = load_dataset(write(text, name))
    assert dataset.ids == ("a.png", "b.png")
    assert dataset.classes == ("cat", "dog")
    assert dataset.unreadable == []


def test_an_empty_split_is_decided_by_content(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=30)
    names = [f"{kind}/{number}.png" for kind in ("ant", "bee", "cat") for number in range(30)]
    lines = [f"{name},{name[:3]},{'test' if number % 3 == 0 else ''}" for number, name in enumerate(names)]
    (tmp_path / "m.csv").write_text("path,label,split\n" + "\n".join(lines))
    dataset, folder = load_dataset(tmp_path / "m.csv"), load_dataset(f"folder:{tmp_path}")
    by_content = dict(zip(folder.digests.tolist(), folder.splits.tolist(), strict=True))
    for number, (content, split) in enumerate(zip(dataset.digests.tolist(), dataset.splits.tolist(), strict=True)):
        assert split == (TEST if number % 3 == 0 else by_content[content])


def test_a_split_column_that_holds_nothing_out_gives_no_split(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=20)
    names = [f"{kind}/{number}.png,{kind}" for kind in ("ant", "bee", "cat") for number in range(20)]
    for value in ("", "train"):
        (tmp_path / "m.csv").write_text("path,label,split\n" + "\n".join(f"{name},{value}" for name in names))
        assert set(load_dataset(tmp_path / "m.csv").splits.tolist()) == {TRAIN, VAL, TEST}


def test_absolute_paths_and_paths_from_elsewhere(write: Write, tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    path = write(f"path,label\n{tmp_path}/a.png,cat\n../b.png,dog\n", "tables/m.csv")
    dataset = load_dataset(path)
    assert dataset.ids == (f"{tmp_path}/a.png", "../b.png")
    assert dataset.unreadable == []


def test_a_file_that_is_not_there_is_one_bad_image(write: Write) -> None:
    dataset = load_dataset(write("path,label\na.png,cat\nnone.png,cat\nb.png,dog\n"))
    assert [(entry.id, entry.reason) for entry in dataset.unreadable] == [("none.png", "file not found")]


def test_a_path_twice_is_one_image(write: Write) -> None:
    path = write("path,label,split,number\na.png,cat,train,1\na.png,cat,train,2\nb.png,dog,test,3\n")
    dataset = load_dataset(path)
    assert dataset.ids == ("a.png", "b.png")
    assert dataset.metadata["number"].tolist() == [1, 3]
    assert dataset.warnings()[0] == "1 row with a repeated path: each image counts once"


def test_problems_are_told_together_with_their_lines(write: Write) -> None:
    path = write('path,label,split\n"a.png","two\nlines",train\n,cat,train\nb.png,,extra\na.png,dog,train\nc.png,x,\n')
    message = message_of(path)
    assert message.startswith(f"manifest '{path}': ")
    for part in (
        "line 4: the path is empty",
        "line 5: the label is empty",
        "line 5: unknown split 'extra', expected train, val, test or nothing",
        "line 6: 'a.png' is already listed in line 2, there as",
    ):
        assert part in message
    many = message_of(write("path,label\n" + ",cat\n" * 20))
    assert many.endswith("line 6: the path is empty; and 15 more")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "is empty: expected the columns path,label[,split]"),
        ("\n\n", "is empty"),
        ("path,label\n", "lists no images"),
        ("paht,Lable\na.png,x\n", "has no column 'path' (did you mean 'paht'?)"),
        ("paht,Lable\na.png,x\n", "has no column 'label' (did you mean 'Lable'?)"),
        ("path,x\na.png,x\n", "has no column 'label' (found path, x)"),
        ("path,label,label\na.png,x,y\n", "has the column 'label' more than once"),
        ("path,label\na.png,x\nb.png\n\nc.png,x,y\n", "line 3 has 1 field: expected 2, as in the first line; line 5"),
        ('path,label\n"a.png"x,x\n', "line 2 is not valid CSV"),
        ('path,label\n"a.png,x\n', "is not valid CSV"),
        (b"path,label\na.png,caf\xe9\n", "line 2 is not UTF-8"),
        ("path,label\n" + "x" * 200_000 + ",y\n", "line 2 is not valid CSV"),
        ("path,label\na\0.png,x\n", "line 2: the path has a NUL in it"),
        ("path,label,split\na.png,x,train\na.png,x,test\n", "line 3: 'a.png' is already listed in line 2, there in an"),
    ],
)
def test_errors(write: Write, text: str | bytes, part: str) -> None:
    assert part in message_of(write(text))


def test_errors_of_the_file(tmp_path: Path) -> None:
    assert "there is no manifest" in message_of(tmp_path / "none.csv")
    assert "is not a manifest: expected a file that ends with .csv" in message_of(tmp_path / "m.xlsx")
    (tmp_path / "folder.csv").mkdir()
    assert "cannot read the manifest" in message_of(tmp_path / "folder.csv")


def test_further_columns_are_metadata(write: Write) -> None:
    path = write("path,label,width,,score,who\na.png,cat,10,x,,Ann\nb.png,dog,20,y,.5,\n")
    dataset = load_dataset(path)
    assert {name: column.tolist() for name, column in dataset.metadata.items() if name != "score"} == {
        "width": [10, 20],
        "who": ["Ann", ""],
    }
    np.testing.assert_array_equal(dataset.metadata["score"], [np.nan, 0.5])
    assert "1 column without a name: omitted" in dataset.warnings()


def test_a_column_that_is_too_large_is_left_out(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.dataset.readers.metadata._MOST_BYTES", 100)
    dataset = load_dataset(write(f"path,label,text\na.png,cat,{'x' * 60}\nb.png,dog,\n"))
    assert dataset.metadata == {}
    assert "column 'text' holds texts of up to 60 characters, too long for 2 rows: omitted" in dataset.warnings()


def test_parquet(write: Write, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({
        "path": ["a.png", "b.png", "c.png"],
        "label": pa.array([3, 1, 3], pa.int16()),
        "split": pa.array(["train", None, "test"]).dictionary_encode(),
        "whole": pa.array([1, 2, 3], pa.int32()),
        "gap": pa.array([1, None, 3], pa.int32()),
        "score": pa.array([0.5, None, 1], pa.float32()),
        "good": [True, False, True],
        "who": ["Ann", None, "Eve"],
        "big": pa.array([1, 2, 2**64 - 1], pa.uint64()),
        "boxes": [[1, 2], [3], []],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "m.parquet")
    dataset = load_dataset(tmp_path / "m.parquet")
    assert dataset.classes == ("1", "3")
    assert dataset.contents.predefined is not None
    assert dataset.contents.predefined.tolist() == [TRAIN, -1, TEST]
    assert {name: column.dtype.kind for name, column in dataset.metadata.items()} == {
        "whole": "i", "gap": "f", "score": "f", "good": "b", "who": "U", "big": "U",
    }  # fmt: skip
    assert dataset.metadata["who"].tolist() == ["Ann", "", "Eve"]
    assert dataset.metadata["whole"].dtype == np.int64
    np.testing.assert_array_equal(dataset.metadata["gap"], [1, np.nan, 3])
    assert any("column 'boxes' is of type list" in line for line in dataset.warnings())


def test_errors_of_parquet(write: Write, tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "m.parquet"
    assert "is not a whole Parquet file" in message_of(write(b"PAR1 no", "m.parquet"))
    pq.write_table(pa.table({"path": ["a.png"], "label": [0.5]}), path)
    assert "the column 'label' is of type double: expected texts" in message_of(path)
    pq.write_table(pa.table({"path": ["a.png", None], "label": ["x", "y"]}), path)
    assert "row 2: the path is empty" in message_of(path)
    pq.write_table(pa.table({"file": ["a.png"], "lable": ["x"]}), path)
    assert "has no column 'label' (did you mean 'lable'?)" in message_of(path)


def test_parquet_without_pyarrow(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[parquet\]'"):
        load_dataset(write(b"PAR1", "m.parquet"))


@pytest.mark.parametrize("kind", ["text", "dictionary", "rows"])
def test_a_parquet_file_that_unpacks_to_more_than_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    texts = [f"{row}{'x' * 10_000}" for row in range(3000)] if kind == "text" else ["x"] * 200_000
    column = pa.array(texts)
    labels = column.dictionary_encode() if kind == "dictionary" else column
    pq.write_table(pa.table({"path": column, "label": labels}), tmp_path / "m.parquet", compression="zstd")
    assert (tmp_path / "m.parquet").stat().st_size < 100_000
    monkeypatch.setattr("featurebank.dataset.readers.table_files.ram_limit", lambda: 10_000_000)
    assert "MB or more, the limit is 10 MB: use a larger --ram" in message_of(tmp_path / "m.parquet")


def test_a_long_text_in_every_row_of_a_parquet_file_is_held_once(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    block = pa.table({"path": ["x" * 100_000] * 200, "label": ["y" * 100_000] * 200})
    with pq.ParquetWriter(tmp_path / "m.parquet", block.schema) as file:
        for _ in range(20):  # 800 MB, if written out
            file.write_table(block)
    before = pa.default_memory_pool().max_memory()
    assert "none of its 1 image exists" in message_of(tmp_path / "m.parquet")
    assert pa.default_memory_pool().max_memory() <= max(before, 100_000_000)


def test_a_type_that_a_file_describes_by_a_pickle_runs_nothing(tmp_path: Path, write: Write) -> None:
    pa = pytest.importorskip("pyarrow")
    import pickle

    import pyarrow.parquet as pq

    class Touch:
        def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    mark = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Touch())}
    fields = [pa.field("path", pa.string()), pa.field("label", pa.string()), pa.field("x", pa.int32(), metadata=mark)]
    write("", "none.csv")
    table = pa.table([["a.png", "b.png"], ["x", "y"], pa.array([1, 2], pa.int32())], schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "m.parquet")
    assert load_dataset(tmp_path / "m.parquet").classes == ("x", "y")
    assert not (tmp_path / "ran").exists()
