"""Datasets of Hugging Face, made here and saved: nothing is asked of the hub."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featurebank import load_dataset
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import BadImageError, DatasetError, MissingDependencyError
from featurebank.system import digest

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")


@pytest.fixture
def table(make: SimpleNamespace) -> Callable[..., Any]:
    """Makes a `datasets.Dataset` of some photos and of the columns given."""

    def build(count: int, features: dict[str, Any] | None = None, **columns: list[Any]) -> Any:
        images = [Image.fromarray(make.picture(number)) for number in range(count)]
        kinds = {"image": datasets.Image(), **(features or {})}
        return datasets.Dataset.from_dict({"image": images, **columns}, features=datasets.Features(kinds))

    return build


NAMED = {"label": datasets.ClassLabel(names=["cat", "ant"])}


def saved(path: Path, found: Any) -> str:
    found.save_to_disk(str(path))
    return f"hf:{path}"


def message_of(spec: str) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_splits_and_names(tmp_path: Path, table: Any, make: SimpleNamespace) -> None:
    part = table(4, NAMED, label=[0, 1, 0, 1])
    spec = saved(tmp_path / "d", datasets.DatasetDict({"train": part, "validation": part, "test": part, "extra": part}))
    dataset = load_dataset(spec)
    assert dataset.spec == spec
    assert dataset.classes == ("ant", "cat")
    assert dataset.labels.tolist() == [1, 0, 1, 0] * 3
    assert dataset.ids[:5] == ("train/0", "train/1", "train/2", "train/3", "validation/0")
    assert dataset.splits.tolist() == [TRAIN] * 4 + [VAL] * 4 + [TEST] * 4
    np.testing.assert_array_equal(dataset.image(6), make.picture(2))
    assert any("split extra is neither train, validation nor test: omitted" in line for line in dataset.warnings())


def test_a_digest_is_of_the_encoded_bytes(tmp_path: Path, make: SimpleNamespace) -> None:
    files = [make.save(tmp_path / f"{number}.png", number) for number in range(2)]
    data = [{"bytes": file.read_bytes(), "path": None} for file in files]
    features = datasets.Features({"photo": datasets.Image(), **NAMED})
    found = datasets.Dataset.from_dict({"photo": data, "label": [0, 1]}, features=features)
    dataset = load_dataset(saved(tmp_path / "d", found))
    assert dataset.digests.tolist() == [digest.of_file(file).encode() for file in files]


def test_one_split_is_decided_by_content(tmp_path: Path, table: Any) -> None:
    part = table(60, NAMED, label=[0, 1] * 30)
    one = load_dataset(saved(tmp_path / "one", part))
    two = load_dataset(saved(tmp_path / "two", datasets.DatasetDict({"train": part})))
    assert one.ids == two.ids
    assert one.ids[:2] == ("0", "1")
    assert set(one.splits.tolist()) == {TRAIN, VAL, TEST}
    np.testing.assert_array_equal(one.splits, two.splits)


@pytest.mark.parametrize(
    ("kind", "values", "classes"),
    [("string", ["b", "a", None, "b"], ("a", "b")), ("int64", [10, 9, 10, None], ("9", "10"))],
)
def test_labels_without_names(
    tmp_path: Path, table: Any, kind: str, values: list[Any], classes: tuple[str, str]
) -> None:
    dataset = load_dataset(saved(tmp_path / "d", table(4, {"target": datasets.Value(kind)}, target=values)))
    assert dataset.classes == classes
    assert len(dataset) == 3
    assert "1 row without a label: omitted" in dataset.warnings()


def test_rows_that_have_been_chosen(tmp_path: Path, table: Any, make: SimpleNamespace) -> None:
    part = table(6, NAMED, label=[0, 0, 0, 1, 1, -1]).select([5, 4, 2, 0])
    dataset = load_dataset(saved(tmp_path / "d", part))
    assert dataset.ids == ("1", "2", "3")
    assert [dataset.classes[label] for label in dataset.labels] == ["ant", "cat", "cat"]
    np.testing.assert_array_equal(dataset.image(0), make.picture(4))


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    data = [{"bytes": b"no image", "path": None}, None]
    features = datasets.Features({"image": datasets.Image(decode=False), **NAMED})
    found = datasets.Dataset.from_dict({"image": data, "label": [0, 1]}, features=features)
    dataset = load_dataset(saved(tmp_path / "d", found))
    assert [(entry.id, entry.reason) for entry in dataset.unreadable] == [("1", "no image in this row")]
    with pytest.raises(BadImageError, match=r"^not an image"):
        dataset.image(0)


def test_a_folder_of_images(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make.folder(tmp_path / "photos", ("train", "test"), each=2)
    monkeypatch.chdir(tmp_path)
    dataset = load_dataset("hf:./photos")
    assert dataset.spec == f"hf:{root}"
    assert dataset.classes == ("ant", "bee", "cat")
    by_folder = load_dataset(root)
    assert sorted(dataset.digests.tolist()) == sorted(by_folder.digests.tolist())
    again = load_dataset("hf:./photos")
    (root / "train" / "ant" / "1.png").unlink()
    assert [entry.reason for entry in again.unreadable] == ["file not found"]
    with pytest.raises(BadImageError, match=r"^file not found$"):
        dataset.image(dataset.digests.tolist().index(by_folder.digests[by_folder.ids.index("train/ant/1.png")]))
    make.save(root / "train" / "ant" / "0.png", 99)
    with pytest.raises(BadImageError, match=r"^changed while it was being read$"):
        dataset.image(dataset.digests.tolist().index(by_folder.digests[by_folder.ids.index("train/ant/0.png")]))


def test_parquet_files(tmp_path: Path, table: Any) -> None:
    (tmp_path / "p").mkdir()
    table(4, NAMED, label=[0, 1, 0, 1]).to_parquet(str(tmp_path / "p" / "train.parquet"))
    assert load_dataset(f"hf:{tmp_path}/p").classes == ("ant", "cat")


def test_errors(tmp_path: Path, table: Any) -> None:
    several = {name: datasets.ClassLabel(names=["x", "y"]) for name in ("coarse", "fine")}
    spec = saved(tmp_path / "several", table(2, several, coarse=[0, 1], fine=[0, 1]))
    assert "has 2 columns of labels, coarse, fine: expected one, or one called label or labels" in message_of(spec)
    spec = saved(tmp_path / "none", table(2, {"x": datasets.Value("int64")}, x=[0, 1]))
    assert "has no column of labels" in message_of(spec)
    spec = saved(tmp_path / "text", datasets.Dataset.from_dict({"label": ["a", "b"]}))
    assert "has no column of images" in message_of(spec)
    part = table(2, NAMED, label=[0, 1])
    spec = saved(tmp_path / "splits", datasets.DatasetDict({"a": part, "test": part}))
    assert "has the splits a, test: expected train" in message_of(spec)
    spec = saved(tmp_path / "unlabelled", table(2, NAMED, label=[-1, -1]))
    assert "has no row with an image and a label" in message_of(spec)
    assert "there is no folder" in message_of("hf:./nowhere")
    (tmp_path / "empty").mkdir()
    assert f"the package datasets could not load 'hf:{tmp_path}/empty'" in message_of(f"hf:{tmp_path}/empty")
    assert message_of("hf:nobody/nothing:x@main").startswith("'hf:nobody/nothing:x@main' is not in the cache of the")


def test_name_configuration_and_revision(table: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load(*args: Any, **options: Any) -> Any:
        asked.append((args, options))
        return datasets.DatasetDict({"train": table(2, NAMED, label=[0, 1])})

    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in ("a/b", "a/b:c", "a/b@1", "a/b:c@1"):
        assert load_dataset(f"hf:{name}").spec == f"hf:{name}"
    assert asked == [
        (("a/b", None), {"revision": None}), (("a/b", "c"), {"revision": None}),
        (("a/b", None), {"revision": "1"}), (("a/b", "c"), {"revision": "1"}),
    ]  # fmt: skip


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[hf\]'"):
        load_dataset("hf:mnist")


def test_a_parquet_file_that_unpacks_a_hundredfold_is_not_handed_on(tmp_path: Path, monkeypatch: Any) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    images = [{"bytes": bytes([row % 200]) * 100_000, "path": None} for row in range(200)]
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 100}), tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 150_000
    monkeypatch.setattr("featurebank.dataset.readers.table_files.ram_limit", lambda: 1_000_000)
    assert "t.parquet': unpacks to 20 MB or more, the limit is 1 MB" in message_of(f"hf:{tmp_path}")


def test_more_rows_than_memory_holds_are_refused(tmp_path: Path, table: Any, monkeypatch: Any) -> None:
    spec = saved(tmp_path / "d", table(4, NAMED, label=[0, 1, 0, 1]))
    monkeypatch.setattr("featurebank.dataset.sources.encoded_rows.ram_limit", lambda: 100)
    assert "claims to have 4 rows, whose labels need 0 MB, the limit is 0 MB: use a larger --ram" in message_of(spec)


def test_an_image_larger_than_any_is_not_decoded(tmp_path: Path, table: Any, monkeypatch: Any) -> None:
    found = load_dataset(saved(tmp_path / "d", table(2, NAMED, label=[0, 1])))
    monkeypatch.setattr("featurebank.dataset.sources.encoded_rows.MOST_BYTES", 10)
    assert all("bytes, more than 0 MiB" in skipped.reason for skipped in found.unreadable)
    assert len(found.unreadable) == 2
