"""Extracts features on the workers of a cluster. Open `extract_banks` first."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.index import Finder, contained
from featurebank.bank.manifest import MANIFEST
from featurebank.bank.pieces.notes import SkippedImage, note_files
from featurebank.bank.reader import Bank
from featurebank.cluster.address import check_address
from featurebank.cluster.admission import PieceAdmission
from featurebank.cluster.checks import probe_file
from featurebank.cluster.client import check_reachable, connect
from featurebank.cluster.dispatch import Dispatcher, Outcome
from featurebank.cluster.tasks import WorkerShare
from featurebank.cluster.worker import PieceOrder, compute_pieces, network_record
from featurebank.dataset import Dataset
from featurebank.dataset.cutting import DatasetCutter
from featurebank.errors import BankIncompleteError, DatasetError
from featurebank.extraction import Extraction, ExtractOptions, run_extractions
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.pieces.listing import ListedPieces, list_pieces, missing_words
from featurebank.extraction.pieces.opening import PieceExtraction, open_pieces
from featurebank.extraction.pieces.plan import Piece
from featurebank.extraction.pieces.runner import PieceResult
from featurebank.extraction.places import locate
from featurebank.storage.caches import cache_directory, portable_path
from featurebank.system.backing.directories import is_file
from featurebank.system.digest import distinct
from featurebank.system.progress import SILENT, Reporter

LIST_S = 30.0
"""Finished pieces are listed in the banks so often."""
_LIST_SHARE = 0.05
"""Listing takes no more than this fraction of the time."""
_SAMPLE = 4
"""The number of images by which a worker shows that it can read the dataset."""
_ROUNDS = 3
"""Pieces whose shards or notes disappear are computed again, so many times at most."""


@dataclass(frozen=True)
class PieceUnit:
    """A piece as a unit of work."""

    piece: Piece
    size: int

    @classmethod
    def of(cls, piece: Piece) -> PieceUnit:
        """Returns the unit of a piece."""
        return cls(piece, len(piece.images))

    def halves(self) -> Sequence[PieceUnit]:
        """Returns both halves of the images; the unit itself if there is one image."""
        return [self] if self.size == 1 else [PieceUnit.of(half) for half in self.piece.halves()]


@dataclass
class ClusterExtraction:
    """An extraction whose pieces are computed by the workers of a cluster.

    Args:
        work: the extraction.
        address: see `connect`.
        reporter: receives the progress and the warnings.
    """

    work: PieceExtraction
    address: str
    reporter: Reporter
    results: list[PieceResult] = field(default_factory=list)
    shares: list[WorkerShare] = field(default_factory=list)
    added: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """For each bank, the number of images that were computed, even if only for some taps or views."""
    computed: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """For each bank, the number of inputs that the network was run on."""
    _bad: BadImages = field(init=False)
    _listed_at: float = field(default_factory=time.monotonic)
    _listing_s: float = 0.0

    def __post_init__(self) -> None:
        dataset = self.work.dataset
        self._bad = BadImages(len(dataset), dataset.spec, self.work.options.max_bad)

    def run(self) -> list[ListedPieces]:
        """Computes all pieces that are left, and completes the banks.

        Raises:
            ClusterError: the cluster or one of its workers cannot be used, or the scheduler is gone.
            DatasetError: an image cannot be used and `on_bad_image` is "fail", or too many cannot be used.
        """
        if any(any(note_files(bank.path)) for bank in self.work.banks):
            self.work.list()  # of an earlier command; halves of a slice count once their rows are listed
        for _ in range(_ROUNDS):
            if pieces := self.work.plan().missing:
                self._compute(pieces)
            listed = self.work.list()
            if all(one.is_complete for one in listed):
                return listed
        message = f"'{listed[0].bank}' lacks {missing_words(listed[0])}, although all were computed: run it again"
        raise BankIncompleteError(message)

    def _compute(self, pieces: Sequence[Piece]) -> None:
        work, units = self.work, [PieceUnit.of(piece) for piece in pieces]
        cutter, order = DatasetCutter(work.dataset), _order_of(work, pieces)
        with contextlib.ExitStack() as stack:
            cluster = stack.enter_context(connect(self.address, reporter=self.reporter))
            probe = stack.enter_context(probe_file(work.banks[0].path.parent))
            admission = PieceAdmission(cluster, probe, order, _sample(cutter, work.dataset), self.reporter)

            def arguments(some: tuple[PieceUnit, ...]) -> tuple[Any, ...]:
                images = distinct(np.concatenate([unit.piece.images for unit in some]))
                return order, [unit.piece for unit in some], cutter.cut(images)

            dispatcher: Dispatcher[PieceUnit] = Dispatcher(
                cluster, compute_pieces, arguments, admission, reporter=self.reporter, is_final=self._is_final
            )
            dispatcher.begin()
            rows = sum(unit.piece.rows for unit in units)
            unit_name = "images" if rows == sum(unit.size for unit in units) else "rows"
            advance = stack.enter_context(self.reporter.track("extract", rows, unit_name))
            try:
                for outcome in dispatcher.run(units):
                    self._record(outcome)
                    advance(sum(unit.piece.rows for unit in outcome.units))
                    self._list_now_and_then()
            finally:
                self.shares = dispatcher.shares()

    def _is_final(self, error: Exception) -> bool:
        return isinstance(error, DatasetError) and self.work.options.on_bad_image == "fail"

    def _record(self, outcome: Outcome[PieceUnit]) -> None:
        """Records the outcome of a batch; an image that ends workers is skipped like one that cannot be decoded.

        Raises:
            DatasetError: too many images cannot be used.
        """
        skipped: Sequence[SkippedImage]
        if outcome.reason:
            for unit in outcome.units:
                unit.piece.skip_all(outcome.reason)
            digests = [image for unit in outcome.units for image in unit.piece.images.tolist()]
            skipped = [SkippedImage(image.decode(), outcome.reason) for image in digests]
        else:
            self.results.append(outcome.value)
            skipped = outcome.value.skipped
        bad = np.array([one.digest for one in skipped], "S32")
        for job in (job for unit in outcome.units for job in unit.piece.jobs):
            good = int((~contained(job.digests, bad)).sum())
            self.computed[job.bank] += good
            self.added[job.bank] += good * (job.view == 0)
        for one, index in zip(skipped, Finder(self.work.dataset.digests).find(bad).tolist(), strict=True):
            self._bad.add(self.work.dataset.ids[index], one.reason, place=index, lost=one.lost)

    def _list_now_and_then(self) -> None:
        """Lists the finished pieces, so that little is left to do at the end."""
        began = time.monotonic()
        if began - self._listed_at < max(LIST_S, self._listing_s / _LIST_SHARE):
            return
        for bank, request in zip(self.work.banks, self.work.requests, strict=True):
            list_pieces(bank.path, request, self.work.options, reporter=self.reporter)
        self._listed_at = time.monotonic()
        self._listing_s = self._listed_at - began


def _order_of(work: PieceExtraction, pieces: Sequence[Piece]) -> PieceOrder:
    taps: dict[int, tuple[str, ...]] = {}
    for piece in pieces:
        for job in piece.jobs:
            taps.setdefault(job.bank, job.taps)
        if len(taps) == len(work.banks):
            break
    networks = tuple(network_record(bank.backbone) for bank in work.banks)
    each = tuple(taps.get(number, ()) for number in range(len(work.banks)))
    places = tuple(portable_path(bank.path) for bank in pieces[0].banks)
    return PieceOrder(networks, work.options, pieces[0].banks, places, each, str(Path.cwd()))


def _sample(cutter: DatasetCutter, dataset: Dataset) -> Dataset:
    """Returns a few images from all over the dataset."""
    images = dataset.distinct()
    return cutter.cut(images[np.linspace(0, len(images) - 1, min(_SAMPLE, len(images))).astype(int)])


def extract_banks(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Extraction]:
    """Fills one bank for each of several backbones, in this process or, if the options name one, on a cluster.

    Each image is decoded only once. If nothing has to be computed, no cluster is needed; images that could not be used
    before are not tried again there.

    Args:
        dataset: the images.
        backbones: the networks; for a cluster, each can be loaded again by its name.
        options: the options of the extraction; `cluster` is "local:N", or the address of a Dask scheduler, see
            `featurebank.cluster.client.connect`.
        cache: directory of the banks, on a disk that all workers share.
        reporter: receives the progress and the warnings.

    Returns:
        The summary of each backbone; `seconds` covers all of them together.

    Raises:
        ConfigError: the address is malformed, or a network exists in the memory of this process alone.
        ClusterError: the cluster or one of its workers cannot be used, or the scheduler is gone.
        DatasetError, BankError, FeatureRangeError, DiskFullError: see `featurebank.extract`.
    """
    if options.cluster is None:
        return run_extractions(dataset, backbones, options, cache=cache, reporter=reporter)
    check_address(options.cluster)
    for backbone in backbones:
        network_record(backbone)
    place = cache_directory(cache).absolute()
    if not all(is_file(locate(dataset, backbone, options, place) / MANIFEST) for backbone in backbones):
        check_reachable(options.cluster)  # before a bank is created, which would stay empty
    work = open_pieces(dataset, backbones, options, cache=place, reporter=reporter)
    began = time.perf_counter()
    running = ClusterExtraction(work, options.cluster, reporter)
    listed = running.run()
    seconds = time.perf_counter() - began
    return [_summary(running, number, one, seconds) for number, one in enumerate(listed)]


def _summary(running: ClusterExtraction, number: int, listed: ListedPieces, seconds: float) -> Extraction:
    results, added = running.results, running.added[number]
    engines = [one.engines[number] for one in results if one.engines and one.engines[number]]
    worked = sum(one.seconds for one in results) or 1.0
    parts = dict.fromkeys(part for one in results for part in one.busy)
    busy = {part: sum(one.busy.get(part, 0) * one.seconds for one in results) / worked for part in parts}
    return Extraction(
        Bank(listed.bank), listed.images, added, running.computed[number], listed.images - added, listed.skipped,
        seconds, ", ".join(dict.fromkeys(filter(None, engines))) or None, running.work.options.precision, busy,
        tuple(dataclasses.asdict(share) for share in running.shares),
    )  # fmt: skip
