"""What is all there already costs nothing, also where nothing can be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from featurebank import extract, load_dataset
from featurebank.backbone import Backbone
from featurebank.errors import BankReadOnlyError
from featurebank.extraction import ExtractOptions, run_extraction


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Lets the disk refuse every lock from now on, as one does that is mounted for reading."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    return lambda: monkeypatch.setattr(filelock.FileLock, "acquire", refuse)


def files_of(path: Path) -> dict[Path, tuple[int, bytes]]:
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*") if file.is_file()}


def test_a_warm_extraction_into_a_cache_for_reading_only(
    photos: Path, lite: Backbone, pixels: list[Any], tmp_path: Path, read_only: Callable[[], None]
) -> None:
    (photos / "ant" / "none.jpg").write_bytes(b"no image")
    cache = tmp_path / "cache"
    options = ExtractOptions(taps=("pooled",), views=1, augment="flip")
    bank = run_extraction(load_dataset(str(photos)), lite, options, cache=cache).bank
    before = files_of(bank.path)
    read_only()
    found = run_extraction(load_dataset(str(photos)), lite, options, cache=cache)
    assert (found.bank.path, found.rows, found.added, found.reused, found.engine) == (bank.path, 24, 0, 24, None)
    assert [entry["id"] for entry in found.skipped] == ["ant/none.jpg"]
    assert files_of(bank.path) == before
    assert len(pixels) == 1, "the network of the first run"


@pytest.mark.usefixtures("pixels")
@pytest.mark.parametrize(
    "options",
    [{"taps": "map"}, {"views": 2, "augment": "flip"}, {"seed": 1}, {"store": "float16"}, {"on_bad_image": "fail"}],
)
def test_what_has_to_be_written_says_that_it_cannot(
    photos: Path, lite: Backbone, tmp_path: Path, read_only: Callable[[], None], options: dict[str, Any]
) -> None:
    (photos / "ant" / "none.jpg").write_bytes(b"no image")
    extract(load_dataset(str(photos)), lite, cache=tmp_path / "cache")
    read_only()
    seed = options.pop("seed", 0)
    with pytest.raises(BankReadOnlyError, match="read-only"):
        extract(load_dataset(str(photos), seed=seed), lite, **options, cache=tmp_path / "cache")
