"""A cluster of two local workers, which the tests of a process share; and workers whose engine is there at once."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clusters import dask_client  # noqa: F401 - a fixture
from forks import Fork

import featurebank as fb
from featurebank.backbone import Backbone
from featurebank.bank import Bank
from featurebank.cluster.client import Cluster, connect
from featurebank.extraction import ExtractOptions, run_extraction

ROOT = Path(__file__).resolve().parents[2]

SITE = f"""
import os, signal, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT / "tests" / "support")!r})

directory = Path(__file__).parent
if (directory / "on").exists():
    import featurebank.dataset.sources.folder as folder
    import featurebank.extraction.pieces.slices as slices
    import featurebank.extraction.target as target
    from immediate import PixelEngine

    class Engine(PixelEngine):
        name = os.environ.get("ENGINE", "pixels")
        def __call__(self, images):
            while (directory / "hold").exists() and self.images >= int((directory / "hold").read_text()):
                time.sleep(0.01)
            features = super().__call__(images)
            factor = float(os.environ.get("FACTOR", "1"))
            return {{tap: values * factor for tap, values in features.items()}}

    slices._LEAST_IMAGES = 4
    target.load_engine = lambda name, backbone, taps, **options: Engine(taps)
    read = folder.Files._bytes
    def reading(self, index, expected):
        path = self.path(index)
        if (directory / "poison").exists() and Path(path).name == (directory / "poison").read_text():
            os.kill(os.getpid(), signal.SIGKILL)
        return read(self, index, expected)
    folder.Files._bytes = reading
"""
"""Runs as each local worker starts: with the engine of the fixture `pixels`, and an image that ends its worker."""


@pytest.fixture(scope="session", autouse=True)
def quick_workers() -> Iterator[None]:
    """Local workers begin at once; `test_local` has workers that the package starts by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurebank.cluster.local.subprocess", SimpleNamespace(Popen=Fork, PIPE=subprocess.PIPE))
        yield


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connect("local:2") as connected:
        connected.wait_for_workers(least=2)
        yield connected


@pytest.fixture
def scheduler(dask_client: Any) -> str:  # noqa: F811
    """The address of a scheduler that a user could have started, with two workers."""
    return str(dask_client.scheduler.address)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets new worker processes compute with pixels.

    Returns:
        A directory. A file `poison` there names the image that ends each process that reads it; a file `hold` has the
        number of images after which an engine waits until that file is gone.
    """
    directory = tmp_path / "site"
    directory.mkdir()
    (directory / "on").touch()
    (directory / "sitecustomize.py").write_text(textwrap.dedent(SITE))
    monkeypatch.setenv("PYTHONPATH", str(directory))
    monkeypatch.setattr("featurebank.extraction.pieces.slices._LEAST_IMAGES", 4)  # 24 photos are six slices of four
    return directory


@pytest.fixture
def single(photos: Path, lite: Backbone, tmp_path: Path, pixels: Any) -> Bank:
    """The bank that one process makes."""
    return run_extraction(fb.load_dataset(str(photos)), lite, ExtractOptions(), cache=tmp_path / "single").bank
