"""What an extraction would do: rows, bytes and seconds, from a few images sent through the real network."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone
from featurebank.backbone.recorded import load_recorded
from featurebank.bank import Bank
from featurebank.bank.index import contained
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch, Prepared, feed
from featurebank.errors import DatasetError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import fingerprint_memory
from featurebank.extraction.plan import BankPlan, Planner
from featurebank.extraction.request import check_request
from featurebank.extraction.source_images import source_dataset, unchanged
from featurebank.storage.caches import cache_directory
from featurebank.system.progress import SILENT, Reporter

CALIBRATION_S = 2.0
_MEASURED = 256
"""The number of images that `measure_use` reads again and again."""


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
    shapes: dict[str, tuple[int, ...]]
    """Of one row of each tap."""


def estimate_extractions(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Estimate]:
    """Estimates the work of `run_extractions`, and writes nothing except the converted networks of the engines.

    Where there is something to compute, the network is loaded, and images are sent through it for two seconds.

    Raises:
        ConfigError: an option is wrong, a tap is already stored with another dtype than requested, or no cut point
            fits into the budget.
        BankDamagedError: the manifest of a bank is damaged.
    """
    place = cache_directory(cache)
    check_request(backbones, options, place)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance, fingerprint_memory(cache))
    plans = Planner(place, reporter).plan(dataset.name, dataset.distinct(), backbones, options)
    return [
        estimate_plan(dataset, backbone, plan, options, reporter)
        for backbone, plan in zip(backbones, plans, strict=True)
    ]


def estimate_plan(
    dataset: Dataset, backbone: Backbone, plan: BankPlan, options: ExtractOptions, reporter: Reporter, *,
    images: int | None = None,
) -> Estimate:  # fmt: skip
    """Estimates the work of one plan; see `estimate_extractions`.

    Args:
        dataset: the images.
        backbone: the network.
        plan: the plan of the bank.
        options: the options of the extraction.
        reporter: receives the progress.
        images: the number of distinct images to report; None means all of the dataset.
    """
    images, rows = len(dataset.distinct()) if images is None else images, plan.rows
    if not rows:
        return Estimate(plan.path, images, 0, 0, 0.0, None, None)
    taps = tuple(tap for tap in plan.taps if any(tap in job.taps for job in plan.jobs))
    indices = np.flatnonzero(contained(dataset.digests, plan.jobs[0].digests)).tolist()
    speed = _Trial(
        lambda index: dataset.image(index, backbone.levels), indices, backbone, options, plan.path.parent, reporter
    ).speed(taps)
    seconds = speed.load_seconds + rows / speed.rate
    return Estimate(plan.path, images, rows, plan.bytes(speed.shapes.__getitem__), seconds, speed.rate, speed.engine)


def measure_speed(backbone: Backbone, options: ExtractOptions, cache: Path, reporter: Reporter = SILENT) -> float:
    """Returns the speed of a network here in images per second, measured on noise of its input size; decodes nothing.

    Args:
        backbone: the network.
        options: engine, precision and batch size.
        cache: where engines keep what they make of a network.
        reporter: shows that the network is loading.
    """
    noise = np.random.default_rng(0).integers(0, 256, (backbone.image_size, backbone.image_size, 3), np.uint8)
    return _Trial(lambda _: noise, range(64), backbone, options, cache, reporter).speed(("pooled",)).rate


def measure_use(bank: Bank, tap: str, reporter: Reporter = SILENT) -> float:
    """Returns how many images a second this machine can turn from files into the features of one tap of a bank.

    Images of the bank are read, resized and sent through the network up to the tap for two seconds, with all threads.

    Args:
        bank: the bank, whose network, weights and precision are used.
        tap: the tap.
        reporter: shows that the network is loading.

    Raises:
        DatasetError: no image of the bank can be read any more.
        ConfigError, WeightsError: the network cannot be loaded again.
    """
    backbone = load_recorded(bank.recipe, bank.manifest.source)
    options = ExtractOptions(taps=[tap], precision=bank.recipe.get("precision", "float32"))
    dataset = source_dataset(bank)
    indices = [index for _, index in unchanged(bank, dataset, _MEASURED, splits=("train", "val"))]
    if not indices:
        message = f"no image of '{bank.name}' can be read any more, so its speed cannot be measured"
        raise DatasetError(message)
    images = partial(dataset.image, levels=backbone.levels)
    return _Trial(images, indices, backbone, options, bank.path.parent, reporter).speed((tap,)).rate


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
        return _Speed(engine.name, load_seconds, rate, {tap: block.shape[1:] for tap, block in first.items()})

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
        for batch in itertools.chain(feed(prepare, for_a_while(), self.options.batch_size), [None]):
            while running and (batch is None or len(running) >= engine.depth):
                count, future = running.popleft()
                future.result()
                done += count
            if isinstance(batch, Batch):
                running.append((len(batch.indices), engine.submit(batch.images)))
        return max(done, 1) / (time.perf_counter() - began)
