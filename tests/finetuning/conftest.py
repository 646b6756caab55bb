"""Small photos that a network learns to tell apart, a bank of them, and a head on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from finetunes import save_photos
from listener import Listener

from featurebank import extract, graft, load_backbone, load_dataset, train_heads
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.extraction.source_images import SourceImages
from featurebank.runs.run import RunRecord


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("finetuning")


@pytest.fixture(scope="session")
def shown(place: Path) -> Path:
    """The folder of the photos; not to be changed."""
    save_photos(place / "photos")
    return place / "photos"


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    return load_backbone("tiny:network")


@pytest.fixture(scope="session")
def bank(place: Path, shown: Path, tiny: Backbone) -> Bank:
    return extract(load_dataset(str(shown)), tiny, ["pooled"], cache=place / "cache")


@pytest.fixture(scope="session")
def head(bank: Bank) -> RunRecord:
    return train_heads(bank, [{"kind": "softmax", "epochs": 2}])[0]


@pytest.fixture
def model(bank: Bank, head: RunRecord) -> Any:
    return graft(bank, head, proof=False)


@pytest.fixture(scope="session")
def train(bank: Bank) -> SourceImages:
    return SourceImages(bank, ["train"])


@pytest.fixture
def said() -> Listener:
    return Listener()
