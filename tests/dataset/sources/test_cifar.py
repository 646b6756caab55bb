"""CIFAR, from wherever it lies, and without trusting its pickles."""

from __future__ import annotations

import os
import pickle
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset.readers.cifar_batch import CIFAR_100_CLASSES, read_batch
from featurebank.dataset.splits import TEST
from featurebank.errors import DatasetError

pytestmark = pytest.mark.usefixtures("no_cifar")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path / "data"))
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    return tmp_path / "data"


def test_pixels_and_names(data: Path, make: SimpleNamespace) -> None:
    make.cifar10(data / "cifar10")
    dataset = load_dataset("cifar10")
    assert dataset.classes[:3] == ("airplane", "automobile", "bird")
    assert dataset.ids[0] == "train/0"
    assert dataset.ids[-1] == "test/19"
    assert dataset.labels[-1] == 9
    rows = np.random.default_rng(9).integers(0, 256, (20, 3072), dtype=np.uint8)
    np.testing.assert_array_equal(dataset.image(100), rows[0].reshape(3, 32, 32).transpose(1, 2, 0))


def test_fine_names(data: Path, make: SimpleNamespace) -> None:
    make.cifar100(data)
    dataset = load_dataset("cifar100")
    assert len(CIFAR_100_CLASSES) == 100
    assert dataset.classes == CIFAR_100_CLASSES
    assert (dataset.classes[0], dataset.classes[99]) == ("apple", "worm")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(data: Path, make: SimpleNamespace, protocol: int) -> None:
    make.cifar10(data / "cifar10", protocol)
    assert len(load_dataset("cifar10")) == 120


def test_every_place(data: Path, make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make.cifar10(tmp_path / "made") / "cifar-10-batches-py"
    wanted = []

    def check(path: Path) -> None:
        dataset = load_dataset("cifar10")
        assert (dataset.name, dataset.spec) == ("cifar10", "cifar10")
        wanted.append(dataset.digests.tobytes())
        path.rename(tmp_path / f"used-{len(wanted)}")

    place = data / "cifar10" / "cifar-10-python.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        archive.add(made, "cifar-10-batches-py")
    check(place)
    keras = tmp_path / "keras" / "datasets" / "cifar-10-batches-py-target"
    keras.mkdir(parents=True)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    made.rename(keras / "cifar-10-batches-py")
    check(keras)
    assert len(set(wanted)) == 1
    npz = data / "cifar10" / "cifar10.npz"
    x, y = np.zeros((10, 32, 32, 3), np.uint8), np.arange(10)[:, None]
    np.savez(npz, x_train=x, y_train=y, x_test=x, y_test=y)
    check(npz)
    make.folder(data / "cifar10", ("train", "test"), each=2)
    dataset = load_dataset("cifar10")
    assert dataset.ids[0] == "test/ant/0.png"
    assert (dataset.name, dataset.spec) == ("cifar10", "cifar10")
    assert int((dataset.splits == TEST).sum()) == 6


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_runs_nothing(data: Path, make: SimpleNamespace, tmp_path: Path) -> None:
    make.cifar10(data / "cifar10")
    evil = pickle.dumps({b"data": Evil(tmp_path / "owned"), b"labels": [1]}, protocol=2)
    (data / "cifar10" / "cifar-10-batches-py" / "data_batch_2").write_bytes(evil)
    with pytest.raises(DatasetError, match=r"cannot read .*: the pickle names (posix|nt)\.mkdir"):
        load_dataset("cifar10")
    assert not (tmp_path / "owned").exists()


X = np.zeros((2, 3072), np.uint8)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ([1], "expected a dict"),
        ({b"labels": [1, 2]}, "expected the key 'data'"),
        ({b"data": X}, "expected the key 'labels'"),
        ({b"data": X[:, :9], b"labels": [1, 2]}, "expected uint8 (2, 3072)"),
        ({b"data": X, b"labels": [1]}, "expected uint8 (1, 3072)"),
        ({b"data": X.astype(np.int64), b"labels": [1, 2]}, "data is int64"),
        ({b"data": X.astype(object), b"labels": [1, 2]}, "expected an array of whole numbers"),
        ({b"data": X.astype(">i4"), b"labels": [1, 2]}, "expected a plain array"),
        ({b"data": np.asfortranarray(X), b"labels": [1, 2]}, "expected a plain array"),
        ({b"data": X, b"labels": ["a", 2]}, "expected a list of whole numbers"),
        ({b"data": "x", b"labels": [1, 2]}, "expected an array"),
    ],
)
def test_wrong_batches(content: object, part: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_batch(pickle.dumps(content, protocol=2), "labels")
    assert part in str(caught.value)


def test_labels_as_an_array() -> None:
    images, labels = read_batch(pickle.dumps({"data": X, "labels": np.array([3, 4])}), "labels")
    assert images.shape == (2, 32, 32, 3)
    assert labels.tolist() == [3, 4]


def test_damaged_files(data: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make.cifar10(data / "cifar10") / "cifar-10-batches-py" / "data_batch_3"
    for content in (b"", b"hello", batch.read_bytes()[:500]):
        batch.write_bytes(content)
        with pytest.raises(DatasetError, match=r"cannot read .*cifar-10-python\.tar\.gz: delete it") as caught:
            load_dataset("cifar10")
        assert "\n" not in str(caught.value)
    with monkeypatch.context() as patch:
        patch.setattr("featurebank.dataset.sources.cifar._MOST_BYTES", 10)
        with pytest.raises(DatasetError, match="bytes, more than"):
            load_dataset("cifar10")
    batch.unlink()
    with pytest.raises(DatasetError, match="cannot read"):
        load_dataset("cifar10")


def test_a_damaged_archive(data: Path) -> None:
    place = data / "cifar10" / "cifar-10-python.tar.gz"
    place.write_bytes(b"not an archive")
    with pytest.raises(DatasetError, match="cannot read"):
        load_dataset("cifar10")
    with tarfile.open(place, "w:gz") as archive:
        archive.add(data, "cifar-10-batches-py/data_batch_1", recursive=False)
    with pytest.raises(DatasetError, match="data_batch_1 is not a file"):
        load_dataset("cifar10")


def test_download(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = np.zeros((10, 32, 32, 3), np.uint8), np.arange(10)[:, None]

    def load_data() -> object:
        print("Downloading ...")  # noqa: T201 - as Keras does
        return (x, y), (x, y)

    fake = SimpleNamespace(
        datasets=SimpleNamespace(cifar10=SimpleNamespace(load_data=load_data)),
        utils=SimpleNamespace(get_file=load_data),
    )
    monkeypatch.setitem(sys.modules, "keras", fake)  # type: ignore[arg-type]
    assert len(load_dataset("cifar10")) == 20
    assert capsys.readouterr().out == ""
    with pytest.raises(DatasetError, match=r"Keras could not download it .*put cifar-100-python.tar.gz into"):
        load_dataset("cifar100")
