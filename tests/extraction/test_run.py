"""The pipeline: batches in flight, in order, whatever becomes of them; and an account of what was at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from immediate import Immediate
from listener import Listener

from featurebank import load_dataset
from featurebank.backbone import Backbone
from featurebank.bank.manifest import load_manifest
from featurebank.errors import FeatureRangeError, RamLimitError
from featurebank.extraction import Extraction, ExtractOptions, run_extraction
from featurebank.system.progress import Reporter


def features(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)[:, :64].astype(np.float32) / 255


class Small(Immediate):
    """Has memory for some images at a time."""

    name, precision = "small", "float32"

    def __init__(self, batch_size: int, most: int, sizes: list[int]) -> None:
        self.batch_size, self.most, self.sizes = batch_size, most, sizes

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        assert len(images) <= self.batch_size
        if len(images) > self.most:
            raise MemoryError
        self.sizes.append(len(images))
        return {"pooled": features(images)}


class Late:
    """Computes in threads of its own, and ends batches in any order."""

    name, precision, depth = "late", "float32", 3

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(3)
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self.submit(images).result()

    def submit(self, images: np.ndarray) -> Future[dict[str, np.ndarray]]:
        mine = images.copy()
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

        def run() -> dict[str, np.ndarray]:
            time.sleep(0.2 + 0.05 * (int(mine.sum()) % 3))
            with self.lock:
                self.now -= 1
            return {"pooled": features(mine)}

        return self.pool.submit(run)

    def close(self) -> None:
        self.pool.shutdown()


@pytest.fixture
def run(photos: Path, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Extraction]:
    """Extracts the photos with an engine that a function of the batch size makes."""

    def go(make: Callable[[int], Any], reporter: Reporter | None = None) -> Extraction:
        monkeypatch.setattr(
            "featurebank.extraction.target.load_engine", lambda *a, batch_size, **options: make(batch_size)
        )
        options = ExtractOptions(batch_size=8)
        return run_extraction(
            load_dataset(str(photos)), lite, options, cache=tmp_path / "cache", reporter=reporter or Reporter()
        )

    return go


def expected(found: Extraction, photos: Path, lite: Backbone) -> np.ndarray:
    dataset = load_dataset(str(photos))
    return features(np.stack([lite.resize(dataset.image(dataset.ids.index(i))) for i in found.bank.ids()]))


def test_several_batches_are_in_flight_and_rows_stay_in_order(
    run: Callable[..., Extraction], photos: Path, lite: Backbone
) -> None:
    engine = Late()
    found = run(lambda size: engine)
    assert engine.most == 3
    assert np.array_equal(found.bank.features(), expected(found, photos, lite))
    keys = [shard.keys for shard in found.bank.manifest.shards]
    assert len(keys) == 1


def test_out_of_memory_halves_the_batch_and_goes_on(
    run: Callable[..., Extraction], photos: Path, lite: Backbone
) -> None:
    sizes: list[int] = []
    listener = Listener()
    found = run(lambda size: Small(size, 3, sizes), listener)
    assert listener.warned == [f"out of memory: going on with batches of {n} images" for n in (4, 2)]
    assert set(sizes) == {2}
    assert np.array_equal(found.bank.features(), expected(found, photos, lite))


def test_not_even_one_image_fits(run: Callable[..., Extraction]) -> None:
    with pytest.raises(RamLimitError, match="not even for one image"):
        run(lambda size: Small(size, 0, []))


def test_a_network_that_gives_nan_stops_at_the_first_batch(run: Callable[..., Extraction], tmp_path: Path) -> None:
    class Broken(Small):
        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            found = super().__call__(images)
            if len(self.sizes) == 2:
                found["pooled"][3] = np.nan
            return found

    sizes: list[int] = []
    with pytest.raises(FeatureRangeError, match=r"for image '(ant|bee)/\d+\.(png|jpg)'"):
        run(lambda size: Broken(size, 8, sizes))
    kept = load_manifest(next(tmp_path.glob("cache/photos*")))
    assert sum(shard.rows for shard in kept.shards) == 8, "what was right before is kept"


def test_an_account_of_what_was_at_work(run: Callable[..., Extraction]) -> None:
    class Slow(Small):
        def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
            time.sleep(0.1)
            return super().__call__(images)

    def load(size: int) -> Slow:
        time.sleep(0.1)
        return Slow(size, 8, [])

    found = run(load)
    assert set(found.busy) == {"decode", "forward", "write", "load"}
    assert found.busy["forward"] * found.seconds == pytest.approx(0.3, abs=0.1)
    assert found.busy["load"] * found.seconds == pytest.approx(0.1, abs=0.08)
    assert 0 < found.busy["decode"] < 0.5
    event = found.bank.manifest.last_extraction
    assert event
    assert set(event["busy"]) == set(found.busy)
    assert event["network"]["seconds"] == pytest.approx(found.busy["forward"] * found.seconds, abs=0.05)
    assert event["network"]["load_seconds"] == pytest.approx(found.busy["load"] * found.seconds, abs=0.05)
    assert run(load).busy == {}


class Coarse(Small):
    """An engine whose features in bfloat16 are a little off."""

    def __init__(self, precision: str, error: float, opened: list[str]) -> None:
        super().__init__(100, 100, [])
        self.precision, self.error, self.opened = precision, error, opened
        opened.append(precision)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        found = features(images) + 1
        if self.precision != "float32":
            found[:, 0] += self.error * found.sum(axis=1)
        return {"pooled": found}

    def close(self) -> None:
        self.opened.remove(self.precision)


@pytest.mark.parametrize(("error", "warned"), [(0.01, False), (0.5, True)])
def test_a_lower_precision_is_compared_and_told(
    photos: Path, lite: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: float, warned: bool
) -> None:
    opened: list[str] = []

    def load(*a: Any, precision: str, **options: Any) -> Coarse:
        return Coarse(precision, error, opened)

    class Told(Listener):
        def __init__(self) -> None:
            super().__init__()
            self.said: list[str] = []

        def say(self, line: str) -> None:
            self.said.append(line)

    monkeypatch.setattr("featurebank.extraction.target.load_engine", load)
    told, dataset = Told(), load_dataset(str(photos))
    options = ExtractOptions(batch_size=5, precision="bfloat16")
    found = run_extraction(dataset, lite, options, cache=tmp_path, reporter=told)
    lines = [line for line in (*told.said, *told.warned) if line.startswith("bfloat16: cosine to float32")]
    assert len(lines) == 1
    assert "tap 'pooled' of 24 images" in lines[0]
    assert bool(told.warned) == warned
    assert ("--precision float32" in lines[0]) == warned
    event = found.bank.manifest.last_extraction
    assert event
    assert event["precision"] == "bfloat16"
    assert event["cosine_to_float32"]["pooled"]["images"] == 24
    assert (event["cosine_to_float32"]["pooled"]["least"] < 0.99) == warned
    assert opened == [], "every engine is closed"
    exact = run_extraction(dataset, lite, ExtractOptions(batch_size=5), cache=tmp_path)
    assert exact.added == 24, "another precision is another bank"
    assert exact.bank.path != found.bank.path
    assert "cosine_to_float32" not in (exact.bank.manifest.last_extraction or {})
