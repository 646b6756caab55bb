"""Extracts features: the function `extract` and its variants for several backbones and for unlabelled images."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone, recorded_source
from featurebank.bank.items import Items
from featurebank.bank.reader import Bank
from featurebank.bank.writer import BankWriter
from featurebank.dataset import Dataset
from featurebank.engine.store import EngineStore
from featurebank.errors import BankReadOnlyError, BankWarning
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.places import locate
from featurebank.extraction.present import bank_as_requested, bank_with
from featurebank.extraction.request import begin_request, dataset_record, end_request
from featurebank.extraction.run import ExtractionPass
from featurebank.extraction.target import BankTarget
from featurebank.storage.caches import cache_directory
from featurebank.system import digest
from featurebank.system.meter import Meter
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True)
class Extraction:
    """The result of an extraction into one bank."""

    bank: Bank
    rows: int
    """Number of this dataset's distinct images in the bank."""
    added: int
    """Number of those that were computed now (wholly, or some taps or views)."""
    computed: int
    """Number of images that went through the network; each view counts."""
    reused: int
    """Number of those that were already in the bank or in another bank of the cache."""
    skipped: tuple[Mapping[str, str], ...]
    """`id` and `reason` of each image without a row."""
    seconds: float
    engine: str | None
    """None if nothing had to be computed."""
    precision: str = "float32"
    busy: Mapping[str, float] = field(default_factory=dict)
    """Fraction of the time in which the network was loaded, images were decoded, the network ran and shards were
    written. Except for the first, they overlap. Empty if nothing was computed."""
    workers: tuple[Mapping[str, Any], ...] = ()
    """What each worker of a cluster did: worker, host, images, images_per_second, waited (a fraction) and engine."""

    @property
    def images_per_second(self) -> float:
        """Images computed per second (each view counts), from opening the bank to the last shard on disk."""
        return self.computed / self.seconds if self.computed else 0.0


def run_extraction(
    dataset: Dataset,
    backbone: Backbone,
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
    engines: EngineStore | None = None,
) -> Extraction:
    """Runs `extract`, and returns the bank together with a summary of the work.

    Example:
        >>> dataset, backbone = fb.load_dataset("photos"), fb.load_backbone("my_networks:small")
        >>> result = run_extraction(dataset, backbone, ExtractOptions(taps=["map"]))
        >>> result.added, result.reused
        (36, 0)
    """
    return run_extractions(dataset, [backbone], options, cache=cache, reporter=reporter, engines=engines)[0]


def run_extractions(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
    engines: EngineStore | None = None,
) -> list[Extraction]:
    """Fills one bank for each of several backbones, decoding each image only once; see `extract`.

    Engines are taken from `engines` and left there, if it is not None.

    Returns:
        The summary of each backbone; `seconds` covers all of them together.

    Example:
        >>> backbones = [fb.load_backbone("my_networks:small", weights=weights) for weights in ("own", "random:1")]
        >>> one, other = run_extractions(fb.load_dataset("photos"), backbones, ExtractOptions(), cache="both")
        >>> one.added, other.added
        (36, 36)
    """
    place = cache_directory(cache)
    requests = begin_request(dataset, backbones, options, place, reporter)
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        try:
            targets = _hold(stack, dataset, backbones, requests, cache=cache, reporter=reporter, engines=engines)
        except BankReadOnlyError:
            return _unwritten(dataset, backbones, requests, cache, began)
        work = ExtractionPass(dataset, targets, options, reporter, targets[0].meter)
        work.run()
        seconds = time.perf_counter() - began
        rows = work.finish(seconds)
    end_request(dataset, backbones, place, reporter)
    return _accounts(work, rows, seconds)


def _accounts(work: ExtractionPass, rows: int, seconds: float) -> list[Extraction]:
    """Returns the summary of each filled bank."""
    skipped = tuple({"id": s["id"], "reason": s["reason"]} for s in work.skipped())
    return [
        Extraction(
            Bank(t.writer.path),
            rows,
            t.done,
            t.computed,
            rows - t.done,
            skipped,
            seconds,
            t.engine,
            work.options.precision,
            work.busy(seconds) if t.computed else {},
        )
        for t in work.targets
    ]


def _unwritten(
    dataset: Dataset, backbones: Sequence[Backbone], requests: Sequence[ExtractOptions], cache: str | Path | None,
    began: float,
) -> list[Extraction]:  # fmt: skip
    """Returns the summary of an extraction into read-only banks that are already complete.

    Raises:
        BankReadOnlyError: something has to be written; call it only where this was raised before.
    """
    paths = [locate(dataset, backbone, options, cache) for backbone, options in zip(backbones, requests, strict=True)]
    banks = [
        bank_as_requested(path, dataset, backbone, options)
        for path, backbone, options in zip(paths, backbones, requests, strict=True)
    ]
    if missing := [path for path, bank in zip(paths, banks, strict=True) if bank is None]:
        message = (
            f"'{missing[0]}' is read-only, and it lacks rows or lists other images, labels or splits than the dataset: "
            "choose another --cache, or make it writable"
        )
        raise BankReadOnlyError(message)
    return [
        Extraction(
            bank, rows := len(digest.distinct(bank.digests())), 0, 0, rows, bank.skipped, time.perf_counter() - began,
            None, options.precision,
        )
        for bank, options in zip(banks, requests, strict=True)
        if bank is not None
    ]  # fmt: skip


def extract_rows(
    images: Dataset,
    backbone: Backbone,
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Bank:
    """Adds unlabelled images to their bank, whose other images stay, and opens it.

    Args:
        images: a dataset of `featurebank.dataset.unlabelled.unlabelled_images`.
        backbone: the network.
        options: the options of the extraction.
        cache: directory of the banks.
        reporter: receives the progress.

    Returns:
        A bank with all of these images, and maybe others; the id of an image is its digest.

    Raises:
        DatasetError: an image cannot be used.
        BankError: the bank cannot be read or written.

    Example:
        >>> from featurebank.dataset.unlabelled import unlabelled_images
        >>> images = unlabelled_images(["photos/rose/1.jpg", "photos/tulip/1.jpg"])
        >>> len(extract_rows(images, fb.load_backbone("my_networks:small"), ExtractOptions()).ids())
        2
    """
    options.check(backbone)
    images.fingerprint()
    path = locate(images, backbone, options, cache)
    if (bank := bank_with(path, images.digests)) is not None:
        return bank
    with _writer(path, images, backbone, options, reporter) as writer:
        target = BankTarget(0, backbone, options, path.parent, reporter, meter := Meter(), writer=writer)
        work = ExtractionPass(images, [target], options, reporter, meter)
        began = time.perf_counter()
        work.run()
        known = [Bank(path).digests()] if writer.manifest.items else []
        digests = np.unique(np.concatenate([images.digests, *known]))
        zeros = np.zeros(len(digests), np.int32)
        items = Items([d.decode() for d in digests.tolist()], digests, zeros, zeros.astype(np.uint8))
        seconds = time.perf_counter() - began
        target.finish(items, [], seconds, work.busy(seconds))
    return Bank(path)


def _hold(
    stack: contextlib.ExitStack, dataset: Dataset, backbones: Sequence[Backbone], requests: Sequence[ExtractOptions], *,
    cache: str | Path | None, reporter: Reporter, engines: EngineStore | None,
) -> list[BankTarget]:  # fmt: skip
    """Acquires the lock of each bank until the stack is closed.

    The order is that of the banks, not of the request. Otherwise two waiting processes could each hold the lock that
    the other one waits for, without end.
    """
    paths = [locate(dataset, backbone, options, cache) for backbone, options in zip(backbones, requests, strict=True)]
    targets, meter = {}, Meter()
    for number in sorted(range(len(backbones)), key=paths.__getitem__):
        writer = stack.enter_context(_writer(paths[number], dataset, backbones[number], requests[number], reporter))
        for line in writer.lost:
            reporter.warn(line, BankWarning)
        targets[number] = BankTarget(
            number,
            backbones[number],
            requests[number],
            paths[number].parent,
            reporter,
            meter,
            writer=writer,
            engines=engines,
        )
    return [targets[number] for number in range(len(backbones))]


def _writer(
    path: Path, dataset: Dataset, backbone: Backbone, options: ExtractOptions, reporter: Reporter
) -> BankWriter:
    return BankWriter(
        path, options.recipe(backbone), dataset_record(dataset), source=recorded_source(backbone), wait=options.wait,
        say=reporter.say,
    )  # fmt: skip
