"""From a text to a dataset."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from featurebank import list_datasets, load_dataset
from featurebank.errors import ConfigError, DatasetError, UnknownNameError


def test_paths(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make.folder(tmp_path / "My Photos", each=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    same = [
        "My Photos",
        "./My Photos/",
        f"folder:{root}",
        "folder:My Photos",
        "~/My Photos",
        root,
        "My Photos/../My Photos",
    ]
    found = [load_dataset(spec) for spec in same]
    assert {dataset.spec for dataset in found} == {f"folder:{root}"}
    names = {dataset.name for dataset in found}
    assert len(names) == 1
    assert names.pop().startswith("my-photos-")
    other = make.folder(tmp_path / "other" / "My Photos", each=2)
    assert load_dataset(other).name != found[0].name


def test_names_win_over_folders_of_the_same_name(
    tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.folder(tmp_path / "digits", each=2)
    monkeypatch.chdir(tmp_path)
    assert load_dataset("digits").spec == "digits"
    assert load_dataset("./digits").spec.startswith("folder:")


def test_a_bare_npz(tmp_path: Path, make: SimpleNamespace) -> None:
    path = make.npz(tmp_path / "Set 1.npz")
    dataset = load_dataset(path)
    assert dataset.spec == f"npz:{path}"
    assert dataset.name.startswith("set-1-")


@pytest.mark.parametrize(
    ("spec", "kind", "part"),
    [
        ("cifar11", UnknownNameError, "did you mean 'cifar10'"),
        ("nothing", UnknownNameError, "; no folder or table has this name"),
        ("zip:a.zip", UnknownNameError, "unknown dataset 'zip:a.zip'"),
        ("folder:", ConfigError, "names no path: expected folder:PATH"),
        ("digits:3", ConfigError, "use 'digits' alone"),
        ("./none", DatasetError, "'./none' does not exist"),
        ("no/where", DatasetError, "does not exist"),
        ("~none", DatasetError, "does not exist"),
        (__file__, DatasetError, "is a file: expected a folder"),
    ],
)
def test_errors(spec: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind) as caught:
        load_dataset(spec)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_are_checked_before_the_dataset() -> None:
    with pytest.raises(ConfigError, match="split is"):
        load_dataset("./none", split=(0.5, 0.1))
    with pytest.raises(ConfigError, match="seed is"):
        load_dataset("./none", seed="x")  # type: ignore[arg-type]


def test_the_table(tmp_path: Path, make: SimpleNamespace, no_cifar: None, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {line.name: line for line in list_datasets()}
    assert list(table) == [
        "digits", "cifar10", "cifar100", "flowers", "birds",
        "folder:PATH", "manifest:FILE.csv", "lists:DIR", "npz:FILE", "hf:NAME", "tfds:NAME",
    ]  # fmt: skip
    assert table["digits"].images == len(load_dataset("digits"))
    assert table["digits"].available
    assert not table["cifar10"].available
    assert (table["flowers"].images, table["birds"].images) == (3670, 6033)
    assert not table["flowers"].available
    make.cifar10(tmp_path / "cifar10")
    monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path))
    line = {line.name: line for line in list_datasets()}["cifar10"]
    assert line.available
    assert line.where == str(tmp_path / "cifar10" / "cifar-10-batches-py")


def test_importing_is_light() -> None:
    code = (
        "import sys, featurebank.dataset as d; d.known_datasets(); "
        "print([m for m in ('sklearn', 'keras', 'tensorflow', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_built_in_name_beats_a_folder_and_says_so(
    tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.folder(tmp_path / "digits", each=20)
    monkeypatch.chdir(tmp_path)
    line = "this is the built-in dataset 'digits', not the folder 'digits' here: write './digits' for the folder"
    assert line in load_dataset("digits").warnings()
    assert load_dataset("./digits").classes == ("ant", "bee", "cat")
    assert load_dataset("./digits").warnings() == []


def test_columns_belong_to_tables(tmp_path: Path, make: SimpleNamespace) -> None:
    make.folder(tmp_path, each=2)
    with pytest.raises(ConfigError, match=r"columns is given for the dataset .*: it applies only to 'manifest:'"):
        load_dataset(tmp_path, columns={"path": "file"})
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(UnknownNameError, match="unknown column 'paths'"):
        load_dataset(tmp_path / "t.csv", columns={"paths": "file"})
    with pytest.raises(ConfigError, match="expected a name without '#'"):
        load_dataset(tmp_path / "t.csv", columns={"path": "a#b"})


def test_a_url_of_a_folder_asks_for_a_table() -> None:
    with pytest.raises(
        DatasetError, match=r"^'s3://lab/photos' is a URL of no table: expected a .csv, .tsv or .parquet"
    ):
        load_dataset("s3://lab/photos")
