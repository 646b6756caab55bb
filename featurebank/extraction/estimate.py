"""What an extraction would do: rows, bytes and seconds, from a few images sent through the real network."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.index import contained
from featurebank.bank.maintenance.sharing import find_rows
from featurebank.bank.manifest import Manifest, load_manifest
from featurebank.bank.shard import read_keys
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch, Prepared, feed
from featurebank.errors import BankDamagedError, BankNotFoundError
from featurebank.extraction.cut_budget import row_bytes, within_budget
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import fingerprint_memory, locate
from featurebank.extraction.plan import missing_taps
from featurebank.extraction.stage import check_request
from featurebank.system.progress import SILENT, Reporter

CALIBRATION_S = 2.0


@dataclass(frozen=True)
class Estimate:
    """What extraction into one bank would do."""

    bank: Path
    images: int
    """Distinct images of the dataset."""
    rows: int
    """To compute: an image has one, and one for each view."""
    bytes: int
    """To be written."""
    seconds: float
    """Of the whole extraction, with loading the network."""
    images_per_second: float | None
    """Measured; None where nothing is to be computed."""
    engine: str | None


@dataclass(frozen=True)
class _Speed:
    engine: str
    load_seconds: float
    rate: float
    row_bytes: dict[str, int]


def estimate_extractions(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Estimate]:
    """Tells what `run_extractions` would do, and writes nothing (but for what engines keep of a network).

    Where there is something to compute, the network is loaded, and images are sent through it for two seconds.

    Raises:
        ConfigError: an option is wrong, or no cut point fits into the budget.
        BankDamagedError: the manifest of a bank is damaged.
    """
    check_request(backbones, options)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance, fingerprint_memory(cache))
    return [_estimate(dataset, backbone, options, cache, reporter) for backbone in backbones]


def _estimate(
    dataset: Dataset, backbone: Backbone, options: ExtractOptions, cache: str | Path | None, reporter: Reporter
) -> Estimate:
    path = locate(dataset, backbone, options, cache)
    options = within_budget(dataset, backbone, options, path, reporter)
    manifest = present_manifest(path, backbone, options)
    wanted = dataset.distinct()
    jobs = missing_jobs(path, manifest, options, wanted)
    rows = sum(len(digests) for _, digests in jobs)
    if not rows:
        return Estimate(path, len(wanted), 0, 0, 0.0, None, None)
    taps = max(jobs, key=lambda job: len(job[1]))[0]
    sample = jobs[0][1]
    indices = np.flatnonzero(contained(dataset.digests, sample)).tolist()
    speed = _Trial(
        lambda index: dataset.image(index, backbone.levels), indices, backbone, options, path.parent, reporter
    ).speed(taps)
    size = sum(len(digests) * sum(speed.row_bytes.get(tap, 0) for tap in found) for found, digests in jobs)
    seconds = speed.load_seconds + rows / speed.rate
    return Estimate(path, len(wanted), rows, size, seconds, speed.rate, speed.engine)


def measure_speed(backbone: Backbone, options: ExtractOptions, cache: Path, reporter: Reporter = SILENT) -> float:
    """Returns how many images a second a network computes here, from noise of its input's size: nothing is decoded.

    Args:
        backbone: the network.
        options: engine, precision and batch size.
        cache: where engines keep what they make of a network.
        reporter: where it is shown that the network is loaded.
    """
    noise = np.random.default_rng(0).integers(0, 256, (backbone.image_size, backbone.image_size, 3), np.uint8)
    return _Trial(lambda _: noise, range(64), backbone, options, cache, reporter).speed(("pooled",)).rate


def present_manifest(path: Path, backbone: Backbone, options: ExtractOptions) -> Manifest:
    """Returns what a bank lists, nothing where there is none."""
    try:
        return load_manifest(path)
    except BankNotFoundError:
        return Manifest(recipe=options.recipe(backbone), dataset={"name": path.parent.name, "classes": []})


def missing_jobs(
    path: Path, manifest: Manifest, options: ExtractOptions, wanted: np.ndarray
) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Returns sets of taps, and the images that lack them in one view or another, in this bank and its neighbours."""
    bad = np.array([s["digest"] for s in manifest.skipped if "digest" in s], dtype="S32")
    wanted = wanted[~np.isin(wanted, bad)]
    taps = tuple(dict.fromkeys((*manifest.taps, *options.taps)))
    views = range(max(manifest.views, options.views) + 1)
    lacking = {(t, v): wanted[~contained(wanted, _stored(path, manifest, t, v))] for t in taps for v in views}
    kept = {tap: stored.dtype for shard in manifest.shards for tap, stored in shard.taps.items()}
    types = {tap: kept.get(tap) or (options.store if tap in options.taps else None) for tap in taps}
    _, left = find_rows(path, manifest.recipe, lacking, types)
    none = np.empty(0, "S32")
    jobs = []
    for view in views:
        stored = {tap: wanted[~contained(wanted, left.get((tap, view), none))] for tap in taps}
        jobs += list(missing_taps(stored, wanted).items())
    return jobs


def _stored(path: Path, manifest: Manifest, tap: str, view: int) -> np.ndarray:
    found = [np.empty(0, "S32")]
    for shard in manifest.shards:
        if tap in shard.taps and shard.view == view:
            with contextlib.suppress(BankDamagedError):  # its rows will be made again
                found.append(read_keys(path, shard)["digest"])
    return np.concatenate(found)


@dataclass(frozen=True)
class _Trial:
    """A few images on their way through the real network."""

    image: Callable[[int], np.ndarray]
    """Decodes an image."""
    indices: Sequence[int]
    """Of the images that are sent, again and again."""
    backbone: Backbone
    options: ExtractOptions
    cache: Path
    reporter: Reporter

    def speed(self, taps: tuple[str, ...]) -> _Speed:
        """Loads the network, and sends images through it for a while."""
        options, size = self.options, self.backbone.image_size
        began = time.perf_counter()
        with self.reporter.step(f"loading {self.backbone.name} for a trial"):
            engine = load_engine(
                options.engine, self.backbone, taps, batch_size=options.batch_size, precision=options.precision,
                cache=self.cache, say=self.reporter.say,
            )  # fmt: skip
        load_seconds = time.perf_counter() - began
        try:
            first = engine(np.zeros((1, size, size, 3), np.uint8))  # the first pass is slower
            rate = self._rate(engine)
        finally:
            engine.close()
        sizes = {tap: row_bytes(block.shape[1:], options.store) for tap, block in first.items()}
        return _Speed(engine.name, load_seconds, rate, sizes)

    def _rate(self, engine: Engine) -> float:
        """Returns images a second, decoded and computed, again from the first where there are few."""
        began = time.perf_counter()

        def for_a_while() -> Iterator[int]:
            endless = itertools.cycle(self.indices)
            yield from itertools.takewhile(lambda _: time.perf_counter() - began < CALIBRATION_S, endless)

        def prepare(index: int) -> Prepared[str]:
            return [("all", 0, self.backbone.resize(self.image(index)))]

        done = 0
        running: deque[tuple[int, Future[dict[str, np.ndarray]]]] = deque()
        for found in itertools.chain(feed(prepare, for_a_while(), self.options.batch_size), [None]):
            while running and (found is None or len(running) >= engine.depth):
                count, future = running.popleft()
                future.result()
                done += count
            if isinstance(found, Batch):
                running.append((len(found.indices), engine.submit(found.images)))
        return max(done, 1) / (time.perf_counter() - began)
