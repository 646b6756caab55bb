"""Rows computed anew tell what checksums cannot: that features belong to their images and to the network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import backbone_from_model, extract, load_backbone, load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.maintenance.verify import verify_bank
from featurebank.bank.reader import Bank
from featurebank.bank.shard import write_shard
from featurebank.extraction.recompute import check_recomputed_rows

pytestmark = pytest.mark.heavy


@pytest.fixture
def bank(photos: Path, lite: Backbone, tmp_path: Path) -> Bank:
    taps = ["pooled", "map", "block2b_add:max"]
    return extract(load_dataset(str(photos)), lite, taps, cache=tmp_path / "cache", views=1, augment="flip,noise=.1")


def spoil(bank: Bank, change: Any) -> Bank:
    """Writes the features of a view anew, as a writer with a fault would have: all checksums hold."""
    shards = []
    for shard in bank.manifest.shards:
        taps = {tap: [change(bank.features(tap, view=shard.view)).astype(s.dtype)] for tap, s in shard.taps.items()}
        keys = np.empty(len(bank), [("digest", "S32"), ("view", "u1")])
        keys["digest"], keys["view"] = bank.digests(), shard.view
        shards.append(write_shard(bank.path, keys, taps))
    replace(bank.manifest, shards=tuple(shards)).save(bank.path)
    assert verify_bank(bank.path).damaged == ()
    return Bank(bank.path)


def test_all_as_stored_in_every_tap_and_view(bank: Bank) -> None:
    found = check_recomputed_rows(bank, rows=5)
    assert (found.rows, found.wrong, found.reason) == (5, (), None)
    assert 0 <= found.difference < 2e-3


def test_rows_of_other_images_are_noticed(bank: Bank) -> None:
    found = check_recomputed_rows(spoil(bank, lambda features: np.roll(features, 1, axis=0)), rows=3)
    assert len(found.wrong) == 3 * 3 * 2
    assert all("does not match the network's output now" in line and "\n" not in line for line in found.wrong)
    assert {name for name in bank.ids() if any(f"'{name}'" in line for line in found.wrong)}


def test_a_change_of_a_percent_is_noticed(bank: Bank) -> None:
    spoilt = spoil(bank, lambda features: features * 1.01)
    assert check_recomputed_rows(spoilt, rows=2).wrong
    assert not check_recomputed_rows(spoil(spoilt, lambda features: features * np.float32(1 / 1.01)), rows=2).wrong


def test_images_that_changed_are_passed_over(bank: Bank, photos: Path, photo: Any) -> None:
    for number, path in enumerate(sorted(photos.glob("*/*"))[:20]):
        photo(path, 1000 + number)
    found = check_recomputed_rows(bank, rows=8)
    assert (found.rows, found.wrong) == (4, ())
    for path in photos.glob("*/*"):
        photo(path, 2000)
    assert "no image of" in str(check_recomputed_rows(bank).reason)


def test_what_is_gone_is_a_reason(bank: Bank, photos: Path) -> None:
    shutil.rmtree(photos)
    found = check_recomputed_rows(bank)
    assert (found.rows, found.wrong) == (0, ())
    assert str(photos) in str(found.reason)


def test_another_network_is_a_reason(bank: Bank) -> None:
    replace(bank.manifest, source={"weights": "random:1"}).save(bank.path)
    assert "made by another weights than efficientnet_lite0" in str(check_recomputed_rows(Bank(bank.path)).reason)


@pytest.mark.parametrize("options", [{"preprocessing": "caffe"}, {"resize": "stretch"}])
def test_a_bank_made_with_options_is_found_sound(photos: Path, tmp_path: Path, options: dict[str, str]) -> None:
    """The backbone of a bank is found again in one place, with all that it was asked for with."""
    backbone = load_backbone("efficientnet_lite0", weights="random:0", image_size=32, **options)
    found = check_recomputed_rows(extract(load_dataset(str(photos)), backbone, cache=tmp_path / "cache"), rows=2)
    assert (found.rows, found.wrong, found.reason) == (2, (), None)


def test_a_network_of_the_users_own_has_to_be_handed_over(photos: Path, tmp_path: Path) -> None:
    """No bank says which code is to be run."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(4, 3)])
    mine = backbone_from_model(model, preprocessing="tf", name="nets.build")
    bank = extract(load_dataset(str(photos)), mine, cache=tmp_path / "cache")
    assert "the bank's network 'nets.build' was a model in memory" in (check_recomputed_rows(bank).reason or "")
    found = check_recomputed_rows(bank, backbone=mine, rows=3)
    assert (found.rows, found.wrong, found.reason) == (3, (), None)
    other = backbone_from_model(model, preprocessing="none", name="nets.build")
    assert "made by another preprocessing than nets.build" in (check_recomputed_rows(bank, backbone=other).reason or "")
