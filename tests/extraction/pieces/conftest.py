"""What tests of pieces share: small slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.extraction import ExtractOptions
from featurebank.extraction.pieces.opening import PieceExtraction, open_pieces


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 photos are six slices of four."""
    monkeypatch.setattr("featurebank.extraction.pieces.slices._LEAST_IMAGES", 4)


@pytest.fixture
def opened(photos: Path, lite: Backbone, tmp_path: Path) -> Callable[..., PieceExtraction]:
    """Opens an extraction of the photos, as each process does it."""

    def start(cache: str = "cache", **options: object) -> PieceExtraction:
        return open_pieces(
            load_dataset(str(photos)), [lite], ExtractOptions(batch_size=3, **options), cache=tmp_path / cache
        )  # type: ignore[arg-type]

    return start
