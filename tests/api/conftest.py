"""A bank of small photos, with a test split."""

from __future__ import annotations

import shutil

import pytest
from finetunes import save_photos

import featurebank as fb


@pytest.fixture(scope="session")
def photo_bank(tmp_path_factory: pytest.TempPathFactory) -> fb.Bank:
    """41 training, 24 validation and 12 test photos of ants and bees (and one cow); not to be changed."""
    place = tmp_path_factory.mktemp("api")
    save_photos(place / "photos")
    for number, path in enumerate(sorted((place / "photos" / "train").glob("*/*"))[:12]):
        target = place / "photos" / "test" / path.parent.name / f"new{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    return fb.extract(fb.load_dataset(str(place / "photos")), fb.load_backbone("tiny:network"), cache=place / "cache")
