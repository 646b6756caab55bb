"""`featurebank extract --part K/N`: one of N processes, which need no scheduler, only a common disk.

Part K of N computes the pieces whose slice has the number K - 1 modulo N. Each part ends by looking whether all pieces
of all parts are done; whoever finds that lists them. Parts may start at any time, twice, and with another N.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.pieces.notes import note_files
from featurebank.bank.pieces.request import request_files
from featurebank.dataset import Dataset
from featurebank.errors import ConfigError
from featurebank.extraction.estimate import Estimate, estimate_plan
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.pieces.listing import ListedPieces
from featurebank.extraction.pieces.opening import PieceExtraction, open_pieces, requested_banks
from featurebank.extraction.pieces.plan import Piece, plan_pieces, request_slice_size
from featurebank.extraction.pieces.runner import PieceResult, PieceRunner
from featurebank.extraction.plan import BankPlan, ExtractionJob
from featurebank.extraction.present import bank_as_requested
from featurebank.extraction.state import NO_DIGESTS
from featurebank.system.progress import SILENT, Reporter
from featurebank.words import shown

_PART = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Part:
    """Which part of how many, as "3/16"."""

    number: int
    """From 1 to `count`."""
    count: int

    @classmethod
    def parse(cls, text: str, name: str = "part") -> Self:
        """Parses "K/N".

        Args:
            text: the text.
            name: what messages call it.

        Raises:
            ConfigError: the text is not of this form, or K is not from 1 to N.

        Example:
            >>> Part.parse("3/16")
            Part(number=3, count=16)
            >>> Part.parse("0/4")
            Traceback (most recent call last):
            featurebank.errors.ConfigError: part is '0/4': expected K/N with K from 1 to N, as 3/16 for the third of ...
        """
        match = _PART.fullmatch(text) if isinstance(text, str) else None
        part = cls(int(match[1]), int(match[2])) if match else None
        if part is None or not 1 <= part.number <= part.count:
            message = f"{name} is {shown(text)}: expected K/N with K from 1 to N, as 3/16 for the third of 16 parts"
            raise ConfigError(message)
        return part

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, slices: Any) -> Any:
        """Returns whether a slice, by its number from 0, belongs to the part; of an array, for each of its numbers."""
        return slices % self.count == self.number - 1


@dataclass(frozen=True)
class PartExtraction:
    """The result of one part of an extraction, for one bank."""

    bank: Path
    part: Part
    rows: int
    """Number of this part's distinct images that have all rows now."""
    added: int
    """Number of those that were computed now."""
    computed: int
    """Number of images that went through the network; each view counts."""
    slices: int
    """Number of slices of the whole request."""
    missing_slices: int = 0
    """Number of slices of all parts that are not done yet."""
    missing_images: int = 0
    """Number of images in them that lack rows."""
    images: int = 0
    """Number of images of the whole bank, if it is complete."""
    skipped: tuple[Mapping[str, str], ...] = ()
    """`id` and `reason` of each image that cannot be used: of the whole bank if it is complete, else of this run."""
    seconds: float = 0.0
    engine: str | None = None
    precision: str = "float32"
    busy: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all parts are done, so that the bank can be opened."""
        return not self.missing_slices

    @property
    def reused(self) -> int:
        """Number of this part's images that were there before."""
        return self.rows - self.added

    @property
    def images_per_second(self) -> float:
        """Images computed per second; each view counts."""
        return self.computed / self.seconds if self.computed else 0.0


def run_part(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    part: Part,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[PartExtraction]:
    """Computes one part of an extraction, and completes the banks if all other parts are done.

    Args:
        dataset: all images, the same for all parts.
        backbones: the networks, which share one decoding pass.
        options: the options of the extraction.
        part: which part.
        cache: directory of the banks, on a disk that all parts share.
        reporter: receives the progress and the warnings.

    Returns:
        The result for the bank of each backbone.

    Raises:
        ConfigError, DatasetError, BankError, FeatureRangeError, DiskFullError: see `featurebank.extract`.

    Example:
        >>> photos, networks = fb.load_dataset("photos"), [fb.load_backbone("my_networks:small", weights="random:4")]
        >>> [run_part(photos, networks, ExtractOptions(), Part(k, 2))[0].is_complete for k in (1, 2)]
        [False, True]
    """
    work = open_pieces(dataset, backbones, options, cache=cache, reporter=reporter)
    began = time.perf_counter()
    plan = work.plan()
    mine = [piece for piece in plan.pieces if part.has(piece.number)]
    with PieceRunner(backbones, options, reporter=reporter) as runner:
        result = runner.run(mine, dataset)
    return _results(work, part, replace(result, seconds=time.perf_counter() - began))


def estimate_part(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    part: Part,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> list[Estimate]:
    """Estimates the work of `run_part`, and writes nothing except the converted networks of the engines.

    Raises:
        ConfigError, BankError: see `featurebank.extraction.estimate.estimate_extractions`.
    """
    banks = requested_banks(dataset, backbones, options, cache=cache, reporter=reporter)
    images = dataset.distinct()
    plans = [bank.plan(images, reporter, neighbours=True) for bank in banks]
    size = request_slice_size(plans, backbones, len(images))
    mine = [piece for piece in plan_pieces(plans, images, size).missing if part.has(piece.number)]
    own = _count(part, len(images), size)
    return [
        estimate_plan(dataset, bank.backbone, _only(plan, bank.number, mine), options, reporter, images=own)
        for bank, plan in zip(banks, plans, strict=True)
    ]


def _completed(work: PieceExtraction) -> list[ListedPieces | None]:
    """Lists the pieces of all parts; a bank that is complete is not written again."""
    each = [
        bank_as_requested(bank.path, work.dataset, bank.backbone, bank.options) for bank in work.banks
        if not any((*note_files(bank.path), *request_files(bank.path)))
    ]  # fmt: skip
    if len(each) < len(work.banks) or None in each:
        return list(work.list())
    return [
        ListedPieces(bank.path, len(np.unique(bank.digests())), 0, 0, skipped=bank.skipped)
        for bank in each
        if bank is not None
    ]


def _results(work: PieceExtraction, part: Part, result: PieceResult) -> list[PartExtraction]:
    """Completes the banks if nothing is missing, and returns the result for each of them."""
    after = work.plan()
    listed: Sequence[ListedPieces | None] = _completed(work) if not after.missing else [None] * len(work.banks)
    own = _count(part, len(work.dataset.distinct()), work.requests[0].size) - len(result.skipped)
    results = []
    for bank, one in zip(work.banks, listed, strict=True):
        number = bank.number
        missing = [jobs for piece in after.missing if (jobs := _jobs([piece], number))]
        mine = PartExtraction(
            bank.path, part, own, _at(result.added, number), _at(result.computed, number), after.slices, len(missing),
            sum(len(_images(jobs)) for jobs in missing), skipped=tuple(_entries(work.dataset, result)),
            seconds=result.seconds, engine=result.engines[number] if result.engines else None,
            precision=work.options.precision, busy=result.busy,
        )  # fmt: skip
        results.append(mine if one is None else _with_listed(mine, one))
    return results


def _with_listed(result: PartExtraction, listed: ListedPieces) -> PartExtraction:
    return replace(
        result, images=listed.images, skipped=listed.skipped, missing_slices=len(listed.missing_slices),
        missing_images=listed.missing_images,
    )  # fmt: skip


def _at(counts: Sequence[int], number: int) -> int:
    return counts[number] if counts else 0


def _jobs(pieces: Sequence[Piece], number: int) -> list[ExtractionJob]:
    """Returns the jobs of pieces for one bank, by its number."""
    return [job for piece in pieces for job in piece.jobs if job.bank == number]


def _images(jobs: Sequence[ExtractionJob]) -> np.ndarray:
    return np.unique(np.concatenate([NO_DIGESTS, *(job.digests for job in jobs)]))


def _entries(dataset: Dataset, result: PieceResult) -> list[dict[str, str]]:
    reasons = {one.digest.encode(): one.reason for one in result.skipped}
    where = np.flatnonzero(np.isin(dataset.digests, np.array(sorted(reasons), "S32"))).tolist()
    entries = [{"id": dataset.ids[index], "reason": reasons[bytes(dataset.digests[index])]} for index in where]
    return sorted(entries, key=lambda entry: entry["id"])


def _only(plan: BankPlan, number: int, pieces: Sequence[Piece]) -> BankPlan:
    """Returns the plan of a bank with the jobs of some pieces alone."""
    groups: dict[tuple[tuple[str, ...], int], list[np.ndarray]] = {}
    for job in _jobs(pieces, number):
        groups.setdefault((job.taps, job.view), []).append(job.digests)
    jobs = [ExtractionJob(number, *key, np.concatenate(parts)) for key, parts in groups.items()]
    return replace(plan, jobs=jobs)


def _count(part: Part, images: int, size: int) -> int:
    """Returns the number of images of a part."""
    return int(np.count_nonzero(part.has(np.arange(images) // size)))
