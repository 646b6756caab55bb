"""A cut dataset is the same images, wherever they come from, and small where they can be read again."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from featurebank import load_dataset
from featurebank.dataset import Dataset
from featurebank.dataset.cutting import DatasetCutter, cut_pixels
from featurebank.errors import LostImageError

SMALL = 20_000


def npz(path: Path, seed: int, count: int = 40) -> Path:
    random = np.random.default_rng(seed)
    np.savez(path, x=random.integers(0, 256, (count, 32, 32, 3), np.uint8), y=np.arange(count) % 2)
    return path


def made(kind: str, photos: Path, tmp_path: Path) -> Dataset:
    if kind == "folder":
        return load_dataset(str(photos))
    if kind == "paths":
        return load_dataset([str(path) for path in sorted(photos.rglob("*.*"))])
    if kind == "subset":
        return load_dataset(str(npz(tmp_path / "a.npz", 0)), limit=30)
    if kind == "joined":
        return load_dataset(str(npz(tmp_path / "a.npz", 0)), test=str(npz(tmp_path / "b.npz", 1)))
    random = np.random.default_rng(0)
    if kind == "sizes":
        return load_dataset(([random.integers(0, 256, (8 + n, 9, 3), np.uint8) for n in range(20)], np.arange(20) % 2))
    return load_dataset((random.integers(0, 256, (40, 16, 16), np.uint8), np.arange(40) % 2))


@pytest.mark.parametrize("kind", ["folder", "paths", "subset", "joined", "values", "sizes"])
def test_a_part_is_the_same_images(kind: str, photos: Path, tmp_path: Path) -> None:
    dataset = made(kind, photos, tmp_path)
    images = dataset.distinct()[3:9]
    sent = pickle.dumps(DatasetCutter(dataset).cut(images))
    assert len(sent) < SMALL
    part = pickle.loads(sent)
    assert np.array_equal(part.distinct(), images)
    for number, name in enumerate(part.ids):
        index = dataset.ids.index(name)
        assert part.digests[number] == dataset.digests[index]
        assert np.array_equal(part.image(number), dataset.image(index))


def test_duplicates_come_along(photos: Path) -> None:
    (photos / "bee" / "again.png").write_bytes((photos / "ant" / "2.png").read_bytes())
    dataset = load_dataset(str(photos))
    digest = dataset.digests[dataset.ids.index("ant/2.png")]
    part = DatasetCutter(dataset).cut(np.array([digest], "S32"))
    assert sorted(part.ids) == ["ant/2.png", "bee/again.png"]


def test_a_part_of_a_part(tmp_path: Path) -> None:
    dataset = load_dataset(str(npz(tmp_path / "a.npz", 0)))
    pixels = cut_pixels(cut_pixels(dataset.contents.pixels, [5, 7, 9]), [2, 0])
    assert np.array_equal(pixels.image(0, None), dataset.image(9))
    assert np.array_equal(pixels.image(1, None), dataset.image(5))


def test_arrays_that_have_changed_are_not_used(tmp_path: Path) -> None:
    dataset = load_dataset(str(npz(tmp_path / "changed.npz", 0)))
    part = DatasetCutter(dataset).cut(dataset.distinct()[:1])
    npz(tmp_path / "changed.npz", 1)
    with pytest.raises(LostImageError, match=r"^changed since its digest"):
        part.image(0)
