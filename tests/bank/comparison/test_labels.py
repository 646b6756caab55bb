"""The short labels of banks: what differs between them, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from featurebank.bank.comparison.labels import bank_labels
from featurebank.bank.manifest import Manifest


def labels(*recipes: dict[str, Any]) -> list[str]:
    manifests = {
        Path(str(number)): Manifest({"backbone": "efficientnet_lite0", **recipe}, {"name": "photos", "classes": []})
        for number, recipe in enumerate(recipes)
    }
    return list(bank_labels(manifests).values())


def test_the_network_alone_where_everything_else_follows_from_it() -> None:
    assert labels({}) == ["lite0"]
    assert labels({"image_size": 224}, {"backbone": "resnet50", "image_size": 240}) == ["lite0", "resnet50"]


def test_what_differs_within_a_network_is_named() -> None:
    both = labels({"precision": "float32"}, {"precision": "bfloat16"}, {"backbone": "vgg16", "precision": "float32"})
    assert both == ["lite0 float32", "lite0 bfloat16", "vgg16 float32"]
    assert labels({"image_size": 224}, {"image_size": 160}) == ["224px", "160px"]


def test_banks_that_differ_in_nothing_that_has_a_name_have_a_digest() -> None:
    first, second = labels({"levels": [0, 9]}, {"levels": [0, 4095]})
    assert first != second


def test_copies_of_a_bank_have_their_names() -> None:
    assert labels({}, {}) == ["0", "1"]
