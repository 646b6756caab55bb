"""What the tests of the documentation share."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_photos import save_photos


@pytest.fixture(scope="session")
def made_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with the photos of the pages."""
    place = tmp_path_factory.mktemp("made_photos")
    save_photos(place)
    return place
