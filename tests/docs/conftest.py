"""The programs of `docs/` are not installed: they are found in the source tree, after all that is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_photos import save_photos

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def made_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory with the photos of the pages."""
    place = tmp_path_factory.mktemp("made_photos")
    save_photos(place)
    return place
