from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.errors import ConfigError, DatasetError, UnknownNameError
from featurebank.extraction.source_images import source_dataset


def photos(root: Path, classes: tuple[str, ...], each: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return photos(tmp_path / "ours", ("ant", "bee", "cow"), 12, 0)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return photos(tmp_path / "theirs", ("bee", "cow"), 3, 1)


def test_another_source_is_the_test_split(ours: Path, theirs: Path) -> None:
    dataset = fb.load_dataset(ours, test=theirs, split=(0.8, 0.2))
    assert dataset.classes == ("ant", "bee", "cow")
    assert sum(dataset.counts()["test"].values()) == 6
    assert dataset.counts()["test"]["ant"] == 0
    tested = np.flatnonzero(dataset.splits == 2)
    assert [dataset.ids[i] for i in tested] == [f"test:{name}/{n}.png" for name in ("bee", "cow") for n in range(3)]
    for index in tested.tolist():
        path = theirs / dataset.ids[index].removeprefix("test:")
        np.testing.assert_array_equal(dataset.image(index), np.asarray(Image.open(path)))
        assert dataset.classes[dataset.labels[index]] == path.parent.name
    alone = fb.load_dataset(ours, split=(0.8, 0.2))
    np.testing.assert_array_equal(dataset.splits[: len(alone)], alone.splits)


def test_a_bank_finds_both_sources_again(
    ours: Path, theirs: Path, lite: Backbone, tmp_path: Path, pixels: object
) -> None:
    bank = fb.extract(fb.load_dataset(ours, test=theirs), lite, cache=tmp_path / "cache")
    assert len(bank.labels("test")) == 6
    assert len(bank.labels("train")) + len(bank.labels("val")) == 36
    again = source_dataset(bank)
    assert again.ids == tuple(fb.load_dataset(ours, test=theirs).ids)
    assert fb.extract(again, lite, cache=tmp_path / "cache").path == bank.path


def test_what_does_not_fit(ours: Path, theirs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected two fractions, as \(0.8, 0.2\)"):
        fb.load_dataset(ours, test=theirs, split=(0.7, 0.2, 0.1))
    with pytest.raises(UnknownNameError, match="unknown class 'beetle': did you mean 'bee'"):
        fb.load_dataset(ours, test=photos(tmp_path / "more", ("bee", "beetle"), 1, 2))
    split = photos(tmp_path / "split" / "train", ("bee", "cow"), 2, 3).parent
    photos(split / "test", ("bee", "cow"), 2, 4)
    with pytest.raises(DatasetError, match="has its own test images"):
        fb.load_dataset(split, test=theirs)
