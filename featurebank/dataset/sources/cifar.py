"""CIFAR-10 and CIFAR-100, wherever they are: the original archive, Keras's copy, a .npz file or folders."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurebank.dataset.core import Contents
from featurebank.dataset.readers.cifar_batch import CIFAR_100_CLASSES, read_batch
from featurebank.dataset.readers.npz import read_npz
from featurebank.dataset.sources import folder
from featurebank.dataset.sources.arrays import ArraySplit, from_parts, npz_parts
from featurebank.dataset.splits import TEST, TRAIN
from featurebank.errors import DatasetError
from featurebank.system.downloads import keras_downloads
from featurebank.system.files import open_regular, read_regular

_MOST_BYTES = 1 << 29


@dataclass(frozen=True)
class _Form:
    folder: str  # the archive's only folder
    archive: str
    train: tuple[str, ...]
    test: str
    label: str
    classes: tuple[str, ...]


_FORMS = {
    "cifar10": _Form(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        tuple(f"data_batch_{number}" for number in range(1, 6)),
        "test_batch",
        "labels",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    ),
    "cifar100": _Form(
        "cifar-100-python", "cifar-100-python.tar.gz", ("train",), "test", "fine_labels", CIFAR_100_CLASSES
    ),
}


def load_cifar10(argument: str) -> Contents:
    """Loads CIFAR-10: 60000 images of 32 x 32 in 10 classes, with given train and test splits; see `find`."""
    return _load("cifar10")


def load_cifar100(argument: str) -> Contents:
    """Loads CIFAR-100: 60000 images of 32 x 32 in 100 classes, with given train and test splits; see `find`."""
    return _load("cifar100")


def find(name: str) -> Path | None:
    """Locates CIFAR on this machine: in $FEATUREBANK_DATA/NAME, $FEATUREBANK_DATA, and Keras's datasets.

    Args:
        name: "cifar10" or "cifar100".

    Returns:
        A folder of batches, an archive, a .npz file or a folder train/CLASS/IMAGE; None if there is none.
    """
    form = _FORMS[name]
    for place in _places(name):
        batches = [place, place / form.folder, place / f"{form.folder}-target" / form.folder]
        files = [place / form.archive, place / f"{form.folder}.tar.gz", place / f"{form.folder}-target_archive"]
        for path in batches:
            if (path / form.test).is_file() and (path / form.train[0]).is_file():
                return path
        for path in [*files, place / f"{name}.npz"]:
            if path.is_file():
                return path
        if place.name == name and (place / "train").is_dir():
            return place
    return None


def _places(name: str) -> Iterator[Path]:
    if own := os.environ.get("FEATUREBANK_DATA"):
        yield Path(own).expanduser() / name
        yield Path(own).expanduser()
    keras = os.environ.get("KERAS_HOME")
    yield (Path(keras) if keras else Path.home() / ".keras") / "datasets"


def _load(name: str) -> Contents:
    form = _FORMS[name]
    place = find(name)
    if place is not None and place.is_dir() and (place / "train").is_dir():
        return dataclasses.replace(folder.load(str(place)), name=name, spec=name)
    if place is None:
        parts = _download(name)
    elif place.suffix == ".npz":
        parts = npz_parts(str(place), read_npz(str(place)))
    else:
        parts = _from_batches(place, form)
    return from_parts(name, name, parts, form.classes)


def _from_batches(place: Path, form: _Form) -> list[ArraySplit]:
    try:
        with _reader(place, form) as read:
            train = [read_batch(read(name), form.label) for name in form.train]
            images, labels = read_batch(read(form.test), form.label)
    except DatasetError:
        raise
    except (OSError, EOFError, KeyError, ValueError, zlib.error, tarfile.TarError, pickle.UnpicklingError) as error:
        detail = " ".join(str(error).split())[:160] or type(error).__name__
        message = f"cannot read '{place}': {detail}; expected the files of {form.archive}: delete it and run again"
        raise DatasetError(message) from error
    joined = [np.concatenate(column) for column in zip(*train, strict=True)]
    return [ArraySplit(TRAIN, joined[0], joined[1]), ArraySplit(TEST, images, labels)]


@contextlib.contextmanager
def _reader(place: Path, form: _Form) -> Iterator[Callable[[str], bytes]]:
    """Yields a function from the name of a batch to its bytes; nothing of an archive is written to the disk."""
    if place.is_dir():

        def read_file(name: str) -> bytes:
            _check_bytes(name, (place / name).stat().st_size)
            return read_regular(place / name)

        yield read_file
        return
    with open_regular(place) as raw, tarfile.open(fileobj=raw) as archive:

        def read(name: str) -> bytes:
            member = archive.getmember(f"{form.folder}/{name}")
            _check_bytes(name, member.size)
            file = archive.extractfile(member)
            if file is None:
                message = f"{name} is not a file"
                raise ValueError(message)
            return file.read()

        yield read


def _check_bytes(name: str, size: int) -> None:
    if size > _MOST_BYTES:
        message = f"{name} has {size} bytes, more than {_MOST_BYTES >> 20} MiB"
        raise ValueError(message)


def _download(name: str) -> list[ArraySplit]:
    form = _FORMS[name]
    try:
        with keras_downloads(f"downloading {form.archive}") as keras:
            (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # no network, no Keras, a changed file
        detail = " ".join(str(error).split())[:160] or type(error).__name__
        message = (
            f"{name} is not on this machine and Keras could not download it ({detail}): "
            f"put {form.archive} into $FEATUREBANK_DATA/{name} or ~/.keras/datasets"
        )
        raise DatasetError(message) from error
    return npz_parts(name, {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test})
