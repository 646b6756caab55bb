"""Datasets of TensorFlow Datasets, prepared here in both formats that can be read."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.sources import tensorflow_datasets as source
from featurebank.dataset.sources.tensorflow_datasets import TfRecords
from featurebank.dataset.splits import TEST, TRAIN, VAL
from featurebank.errors import DatasetError, MissingDependencyError, UnknownNameError
from featurebank.system import digest

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.mark.parametrize("kind", ["tfrecord", "array_record"])
def test_rows_of_a_prepared_dataset(
    kind: str, prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch, make: SimpleNamespace
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared[kind]))
    dataset = load_dataset("tfds:made_photos")
    assert (dataset.spec, dataset.classes) == ("tfds:made_photos", ("ant", "bee", "cat"))
    assert len(dataset) == 90
    assert dataset.unreadable == []
    assert {name.split("/")[0] for name in dataset.ids} == {"train", "test"}
    given_test = np.array([name.startswith("test/") for name in dataset.ids])
    np.testing.assert_array_equal(dataset.splits == TEST, given_test)
    assert set(dataset.splits[~given_test].tolist()) == {TRAIN, VAL}
    # Its rows are shuffled: each label is known by its picture.
    numbers = {make.picture(number).tobytes(): number for number in range(90)}
    found = [numbers[dataset.image(row).tobytes()] for row in range(90)]
    assert sorted(found) == list(range(90))
    assert [dataset.classes[label] for label in dataset.labels] == [("cat", "ant", "bee")[n % 3] for n in found]


def test_a_digest_is_of_the_encoded_bytes(prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared["array_record"]))
    builder = tfds.builder("made_photos", data_dir=prepared["array_record"])
    rows = builder.as_data_source(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    dataset = load_dataset("tfds:made_photos")
    expected = [digest.of_bytes(rows[row]["image"]).encode() for row in range(len(rows))]
    assert dataset.digests[: len(rows)].tolist() == expected


def test_both_formats_hold_the_same(prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    digests = []
    for place in prepared.values():
        monkeypatch.setenv("TFDS_DATA_DIR", str(place))
        digests.append(sorted(load_dataset("tfds:made_photos").digests.tolist()))
    assert digests[0] == digests[1]


def test_a_prepared_dataset_is_listed_without_tensorflow(prepared: dict[str, Path]) -> None:
    code = (
        "import sys, featurebank as fb; print(fb.load_dataset('tfds:made_photos')); print('tensorflow' in sys.modules)"
    )
    environment = {"TFDS_DATA_DIR": str(prepared["tfrecord"]), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["<Dataset tfds:made_photos: 90 images, 3 classes>", "False"]


def test_records_of_several_files(tmp_path: Path) -> None:
    wanted = [[b"", b"abc"], [], [b"x" * 1000]]
    for number, records in enumerate(wanted):
        frames = [len(record).to_bytes(8, "little") + b"crc4" + record + b"crc4" for record in records]
        (tmp_path / f"{number}.tfrecord").write_bytes(b"".join(frames))
    paths = [str(tmp_path / f"{number}.tfrecord") for number in range(3)]
    records = TfRecords(paths)
    assert [records(row) for row in range(len(records))] == [b"", b"abc", b"x" * 1000]
    data = Path(paths[2]).read_bytes()
    for size in (5, 100, len(data) - 1):
        Path(paths[2]).write_bytes(data[:size])
        with pytest.raises(DatasetError, match="ends in the middle of a record"):
            TfRecords(paths)
        if size == 100:
            with pytest.raises(OSError, match="the file is shorter than it was"):
                records(2)


def test_a_record_that_says_that_it_is_huge(tmp_path: Path) -> None:
    path = tmp_path / "0.tfrecord"
    for size in (1 << 40, 1 << 63, (1 << 64) - 1):
        path.write_bytes(size.to_bytes(8, "little") + b"crc4" + b"abc" + b"crc4")
        with pytest.raises(DatasetError, match="ends in the middle of a record"):
            TfRecords([str(path)])


def test_errors(prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared["tfrecord"]))
    with pytest.raises(UnknownNameError, match=r"unknown dataset of TensorFlow Datasets 'mnits': did you mean 'mnist'"):
        load_dataset("tfds:mnits")
    with pytest.raises(DatasetError, match=r"tensorflow-datasets could not load 'tfds:mnist/none'"):
        load_dataset("tfds:mnist/none")
    with pytest.raises(DatasetError, match=r"'tfds:ag_news_subset' has no column of images"):
        load_dataset("tfds:ag_news_subset")


def test_another_format(prepared: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from featurebank.dataset.sources import tensorflow_datasets as module

    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared["tfrecord"]))
    monkeypatch.delitem(module._FORMATS, "tfrecord")
    with pytest.raises(DatasetError, match="is prepared as tfrecord: expected tfrecord or array_record"):
        load_dataset("tfds:made_photos")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'featurebank\[tfds\]'"):
        load_dataset("tfds:mnist")


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorflow_datasets.core.download import downloader

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = f"127.0.0.1:{listening.getsockname()[1]}"

        def prepare() -> None:
            with downloader._open_url(f"http://{server}/photos.zip", verify=True):
                pass

        features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["ant", "bee"])}
        builder = SimpleNamespace(info=SimpleNamespace(features=features), download_and_prepare=prepare)
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder)
        monkeypatch.setattr(source, "SECONDS_WITHOUT_ANSWER", 0.05)
        tries, opened = downloader.MAX_RETRIES, downloader._open_url
        with pytest.raises(DatasetError, match=rf"load 'tfds:photos': {server} could not be reached \(.+\); check"):
            load_dataset("tfds:photos")
    assert (downloader.MAX_RETRIES, downloader._open_url) == (tries, opened)
