"""The images of an epoch: all of them, in an order that a seed decides, as their augmentations show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurebank.augment import Augmentation, augment
from featurebank.bank import Bank
from featurebank.errors import DatasetError
from featurebank.extraction.source_images import SourceImages
from featurebank.finetuning.images import batches, order, view_of


@given(st.integers(1, 200), st.integers(1, 40), st.integers(0, 5))
def test_each_image_once_and_no_batch_of_one(images: int, size: int, seed: int) -> None:
    found = order(images, size, (seed, 1))
    assert sorted(np.concatenate(found).tolist()) == list(range(images))
    assert all(1 < len(rows) <= size + 1 or size == 1 or images == 1 for rows in found)
    assert all(np.array_equal(a, b) for a, b in zip(found, order(images, size, (seed, 1)), strict=True))


def test_epochs_and_seeds_differ() -> None:
    assert len({tuple(np.concatenate(order(50, 8, (seed, epoch)))) for seed in range(3) for epoch in range(3)}) == 9
    assert len({view_of(seed, epoch) for seed in range(3) for epoch in range(100)}) == 300


@pytest.mark.parametrize("kept", [True, False])
def test_batches(kept: bool, bank: Bank, train: SourceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kept:
        monkeypatch.setattr("featurebank.extraction.source_images.ram_limit", lambda: 1000)
    images = SourceImages(bank, ["train"])
    assert images.in_memory == kept
    rows, wanted = order(len(images), 8, (0,)), Augmentation.parse("flip,rotate=20,noise=.1")
    clean = list(batches(images, rows, None, 1))
    shown = list(batches(images, rows, wanted, 7))
    for chosen, plain, seen in zip(rows, clean, shown, strict=True):
        np.testing.assert_array_equal(plain, train.read(chosen))
        np.testing.assert_array_equal(seen, augment(plain, wanted, images.digests[chosen], 7))
    assert not np.array_equal(shown[0], next(batches(images, rows, wanted, 8)))
    np.testing.assert_array_equal(images.labels, bank.labels("train"))


def test_images_that_have_gone(bank: Bank, shown: Path) -> None:
    gone, changed = (shown / name for name in bank.ids("train")[:2])
    kept = [path.read_bytes() for path in (gone, changed)]
    try:
        gone.unlink()
        with pytest.raises(
            DatasetError, match=f"image '{bank.ids('train')[0]}' has gone or changed since extraction: restore"
        ):
            SourceImages(bank, ["train"])
        changed.write_bytes(kept[0])
        gone.write_bytes(kept[1])
        with pytest.raises(
            DatasetError, match=r"^2 of 41 images of '.*' have gone or changed .* \(the first: '"
        ) as error:
            SourceImages(bank, ["train"])
        assert "\n" not in str(error.value)
    finally:
        for path, data in zip((gone, changed), kept, strict=True):
            path.write_bytes(data)


def test_a_dataset_that_has_gone(bank: Bank, shown: Path) -> None:
    away = shown.with_name("away")
    shown.rename(away)
    try:
        with pytest.raises(DatasetError, match=rf"the images of '{bank.name}' cannot be read again: .*photos"):
            SourceImages(bank, ["val"])
    finally:
        away.rename(shown)
