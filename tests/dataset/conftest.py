"""Small datasets of every kind, made on the spot."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

CLASSES = ("ant", "bee", "cat")


def picture(number: int, size: int = 8) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)


def save(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path)
    return path


def make_folder(root: Path, prefixes: tuple[str, ...] = ("",), each: int = 20) -> Path:
    number = 0
    for prefix in prefixes:
        for name in CLASSES:
            for index in range(each):
                save(root / prefix / name / f"{index}.png", number)
                number += 1
    return root


def make_batch(path: Path, key: str, count: int, classes: int, seed: int, protocol: int = 2) -> None:
    generator = np.random.default_rng(seed)
    data = generator.integers(0, 256, (count, 3072), dtype=np.uint8)
    content = {b"data": data, key.encode(): [index % classes for index in range(count)], b"batch_label": b"x"}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=protocol))


def make_cifar10(root: Path, protocol: int = 2) -> Path:
    for number in range(1, 6):
        make_batch(root / "cifar-10-batches-py" / f"data_batch_{number}", "labels", 20, 10, number, protocol)
    make_batch(root / "cifar-10-batches-py" / "test_batch", "labels", 20, 10, 9, protocol)
    return root


def make_cifar100(root: Path) -> Path:
    make_batch(root / "cifar-100-python" / "train", "fine_labels", 200, 100, 1)
    make_batch(root / "cifar-100-python" / "test", "fine_labels", 100, 100, 2)
    return root


def make_npz(path: Path, count: int = 60) -> Path:
    images = np.stack([picture(number) for number in range(count)])
    np.savez(path, x=images, y=np.arange(count) % 3)
    return path


@pytest.fixture
def no_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides what this machine has of CIFAR."""
    monkeypatch.delenv("FEATUREBANK_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "no-keras"))


@pytest.fixture(params=["digits", "folder", "split-folder", "npz", "cifar10", "cifar100"])
def spec(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_cifar: None) -> str:
    makers: dict[str, Callable[[], str]] = {
        "digits": lambda: "digits",
        "folder": lambda: f"folder:{make_folder(tmp_path / 'photos')}",
        "split-folder": lambda: str(make_folder(tmp_path / "photos", ("train", "test"))),
        "npz": lambda: f"npz:{make_npz(tmp_path / 'a.npz')}",
        "cifar10": lambda: str(make_cifar10(tmp_path / "data" / "cifar10").name),
        "cifar100": lambda: str(make_cifar100(tmp_path / "data" / "cifar100").name),
    }
    if request.param.startswith("cifar"):
        monkeypatch.setenv("FEATUREBANK_DATA", str(tmp_path / "data"))
    return makers[request.param]()


@pytest.fixture
def make() -> SimpleNamespace:
    """The functions above, for tests that make datasets of their own."""
    return SimpleNamespace(
        picture=picture, save=save, folder=make_folder, npz=make_npz, cifar10=make_cifar10, cifar100=make_cifar100
    )
