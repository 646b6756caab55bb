"""What an inspection tells, and that it tells the same again."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featurebank import inspect_dataset, load_dataset
from featurebank.augment import Augmentation, augment
from featurebank.backbone.resize import resize_image
from featurebank.bank import Bank
from featurebank.errors import ConfigError
from featurebank.inspection.advice import advise
from featurebank.inspection.near_duplicates import near_pairs
from featurebank.inspection.stage import Inspection

KEYS = {
    "dataset", "images", "classes", "splits", "counts", "sizes", "aspect_ratios", "formats", "modes", "rotated",
    "unreadable", "duplicates", "duplicate_counts", "near_duplicates", "warnings", "samples", "group_columns",
}  # fmt: skip


def look(root: Path | str, **options: Any) -> Inspection:
    return inspect_dataset(load_dataset(str(root), split=(0.8, 0.2)), **options)


def test_json_has_the_keys_of_the_contract(leaky: Path, leaky_bank: Bank) -> None:
    found = json.loads(json.dumps(look(leaky, bank=leaky_bank, near=0.99999).to_json()))
    assert set(found) == KEYS
    assert found["images"] == 20
    assert found["classes"] == ["ant", "bee"]
    assert sum(found["splits"].values()) == 19
    assert found["splits"]["test"] == sum(found["counts"]["test"].values()) == 6
    assert found["sizes"]["width"]["median"] == found["sizes"]["height"]["max"] == 32
    assert found["sizes"]["megapixels"]["min"] == 32 * 32 / 1e6
    assert found["aspect_ratios"]["p95"] == 1
    assert found["formats"] == {"PNG": 19}
    assert found["modes"] == {"RGB": 19}
    assert found["rotated"] == 0
    assert found["unreadable"] == [
        {"id": "train/bee/broken.jpg", "reason": "not an image that can be read, but a text"}
    ]
    (group,) = found["duplicates"]
    assert set(group) == {"digest", "images", "across_splits", "across_labels"}
    assert group["across_splits"]
    assert group["across_labels"]
    assert group["images"][0] == {"id": "test/bee/same.png", "split": "test", "label": "bee"}
    assert found["duplicate_counts"] == {"groups": 1, "images": 2, "across_splits": 1, "across_labels": 1}
    near = found["near_duplicates"]
    assert set(near) == {"bank", "tap", "threshold", "compared", "total", "pairs", "capped"}
    (pair,) = near["pairs"]
    assert pair == {
        "a": "train/ant/near.png", "b": "test/ant/nearly.png", "split_a": pair["split_a"], "split_b": "test",
        "label_a": "ant", "label_b": "ant", "cosine": 1.0,
    }  # fmt: skip


def test_without_a_bank_nothing_is_said_of_near_duplicates(leaky: Path) -> None:
    assert look(leaky).to_json()["near_duplicates"] is None


def test_samples_are_of_their_class_usable_and_chosen_by_the_seed(leaky: Path) -> None:
    found = look(leaky, sample=4)
    assert {name: len(ids) for name, ids in found.samples.items()} == {"ant": 4, "bee": 4}
    for name, ids in found.samples.items():
        assert all(i.split("/")[1] == name for i in ids)
    assert found.samples == look(leaky, sample=4).samples
    assert found.samples != look(leaky, sample=4, seed=1).samples
    everything = look(leaky, sample=100).samples["bee"]
    assert len(everything) == len(set(everything)) == 9
    assert "train/bee/broken.jpg" not in everything


def test_no_samples_on_request(leaky: Path) -> None:
    assert look(leaky, sample=0).samples == {"ant": (), "bee": ()}


def test_pictures_are_of_samples_and_of_duplicates(leaky: Path, leaky_bank: Bank) -> None:
    found = look(leaky, bank=leaky_bank, near=0.99999, sample=1)
    shown = {i for ids in found.samples.values() for i in ids}
    shown |= {"train/ant/same.png", "test/bee/same.png", "train/ant/near.png", "test/ant/nearly.png"}
    assert set(found.thumbnails) == shown
    dataset = load_dataset(str(leaky))
    for name, image in found.thumbnails.items():
        np.testing.assert_array_equal(image, dataset.image(dataset.ids.index(name)))


def test_views_are_those_that_extraction_would_store(leaky: Path) -> None:
    wanted = Augmentation.parse("flip,rotate=20")
    found = look(leaky, augmentation=wanted, views=3, image_size=48)
    dataset = load_dataset(str(leaky))
    assert [row.id.split("/")[1] for row in found.views] == ["ant", "bee"]
    for row in found.views:
        assert [image.shape for image in row.images] == [(48, 48, 3)] * 4
        index = dataset.ids.index(row.id)
        clean = resize_image(dataset.image(index), 48)
        np.testing.assert_array_equal(row.images[0], clean)
        for view in (1, 2, 3):
            expected = augment(clean[np.newaxis], wanted, dataset.digests[[index]], view)[0]
            np.testing.assert_array_equal(row.images[view], expected)


def test_no_image_can_be_used(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.jpg").write_bytes(b"no image")
    found = look(tmp_path)
    assert len(found.unreadable) == 2
    assert found.samples == {"a": (), "b": ()}
    assert json.dumps(found.to_json())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"near": 1.0}, "between 0 and 1"),
        ({"near": float("nan")}, "between 0 and 1"),
        ({"sample": -1}, "0 or more"),
        ({"views": 0}, "1 or more"),
        ({"image_size": 0}, "1 or more"),
    ],
)
def test_wrong_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        look("digits", **options)


def test_too_many_near_duplicates_are_no_copies(leaky: Path, leaky_bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurebank.inspection.near_duplicates.near_pairs", partial(near_pairs, most=3))
    found = look(leaky, bank=leaky_bank, near=1e-6)
    assert found.near_duplicates
    assert (found.near_duplicates.total, found.near_duplicates.capped) == (3, True)
    assert any(line.startswith("more than 3 pairs of images in different splits") for line in advise(found))
