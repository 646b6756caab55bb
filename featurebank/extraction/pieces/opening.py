"""Opens an extraction in pieces: what every process does before its first piece, and after its last one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from featurebank.backbone import Backbone, recorded_source
from featurebank.bank.locks.writer_lock import explain_read_only
from featurebank.bank.manifest import MANIFEST
from featurebank.bank.pieces.notes import check_place
from featurebank.bank.pieces.request import PieceRequest
from featurebank.bank.writer import BankWriter
from featurebank.dataset import Dataset
from featurebank.errors import BankWarning
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.pieces.listing import ListedPieces, list_pieces
from featurebank.extraction.pieces.plan import PiecePlan, plan_pieces, request_slice_size
from featurebank.extraction.places import locate
from featurebank.extraction.plan import BankPlan, plan_bank
from featurebank.extraction.request import begin_request, dataset_items, dataset_record, end_request
from featurebank.extraction.run import count_unreadable
from featurebank.extraction.state import read_state
from featurebank.extraction.target import BankTarget
from featurebank.storage.caches import cache_directory
from featurebank.system.backing.directories import is_file
from featurebank.system.meter import Meter
from featurebank.system.progress import SILENT, Reporter


@dataclass(frozen=True)
class RequestedBank:
    """One bank of an extraction in pieces."""

    number: int
    """Its number among those that are filled together."""
    path: Path
    backbone: Backbone
    options: ExtractOptions
    """The options for this backbone, with a disk budget replaced by a cut point."""

    def plan(self, images: np.ndarray, reporter: Reporter, *, neighbours: bool = False) -> BankPlan:
        """Plans which rows the bank lacks; see `plan_bank`."""
        check_place(self.path)
        warn = partial(reporter.warn, kind=BankWarning)
        state = read_state(self.path, self.options.recipe(self.backbone))
        return plan_bank(
            self.path, state, self.options, images, number=self.number, neighbours=neighbours, warn=warn
        )  # fmt: skip

    def open(self, dataset: Dataset, reporter: Reporter) -> BankPlan:
        """Creates the bank, and shares the rows of other banks with it, where that is not yet done."""
        images = dataset.distinct()
        plan = self.plan(images, reporter, neighbours=True)
        if not plan.shared and is_file(self.path / MANIFEST):
            return plan
        with BankWriter(
            self.path, plan.state.recipe, dataset_record(dataset), source=recorded_source(self.backbone), wait=True,
            say=reporter.say,
        ) as writer:  # fmt: skip
            writer.create()
            target = BankTarget(
                self.number, self.backbone, self.options, self.path.parent, reporter, Meter(), writer=writer
            )
            target.begin(images)
        return target.plan

    def request(self, dataset: Dataset, plan: BankPlan, size: int) -> PieceRequest:
        """Returns what the bank holds in the end, after writing it beside the notes if anything is missing.

        Args:
            dataset: the images.
            plan: the plan of `open`.
            size: the number of images in a slice.
        """
        readable = np.flatnonzero(dataset.digests != b"")
        items = dataset_items(dataset, readable)
        unreadable = tuple({"id": one.id, "reason": one.reason} for one in dataset.unreadable)
        request = PieceRequest(
            plan.state.recipe, dataset_record(dataset), recorded_source(self.backbone), items.sorted(), plan.taps,
            plan.views, size, unreadable,
        )  # fmt: skip
        if plan.jobs:
            with explain_read_only(self.path):
                request.save(self.path)
        return request


@dataclass(frozen=True)
class PieceExtraction:
    """An extraction in pieces, as one of its processes sees it."""

    dataset: Dataset
    options: ExtractOptions
    banks: Sequence[RequestedBank]
    requests: Sequence[PieceRequest]
    """What each bank holds in the end."""
    reporter: Reporter = SILENT

    @property
    def backbones(self) -> list[Backbone]:
        """The network of each bank."""
        return [bank.backbone for bank in self.banks]

    def plan(self) -> PiecePlan:
        """Reads the banks and the notes of finished pieces, and returns which pieces are left; changes nothing."""
        images = self.dataset.distinct()
        plans = [bank.plan(images, self.reporter) for bank in self.banks]
        return plan_pieces(plans, images, self.requests[0].size)

    def list(self) -> list[ListedPieces]:
        """Lists the finished pieces of each bank, and completes the banks that lack nothing; see `list_pieces`."""
        listed = {
            bank.number: list_pieces(bank.path, self.requests[bank.number], self.options, reporter=self.reporter)
            for bank in sorted(self.banks, key=lambda bank: bank.path)
        }
        end_request(self.dataset, self.backbones, self.banks[0].path.parent, self.reporter)
        return [listed[number] for number in range(len(self.banks))]


def open_pieces(
    dataset: Dataset,
    backbones: Sequence[Backbone],
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> PieceExtraction:
    """Opens an extraction in pieces.

    It computes the digests of the images, shares the rows that other banks of the cache have, and leaves in each bank
    what `featurebank cache finish` needs: a manifest and the request. The lock of a bank is held for a moment only, and
    not at all if another process of this extraction has done this.

    Args:
        dataset: the images.
        backbones: the networks, which share one decoding pass.
        options: the options of the extraction.
        cache: directory of the banks.
        reporter: receives the progress and the warnings.

    Raises:
        ConfigError, DatasetError, BankError: see `featurebank.extract`.

    Example:
        >>> network = fb.load_backbone("my_networks:small", weights="random:3")
        >>> from featurebank.extraction.pieces.runner import PieceRunner
        >>> work = open_pieces(fb.load_dataset("photos"), [network], ExtractOptions())
        >>> with PieceRunner([network], ExtractOptions()) as runner:
        ...     runner.run(work.plan().pieces, work.dataset).images
        36
        >>> [listed.is_complete for listed in work.list()]
        [True]
    """
    banks = requested_banks(dataset, backbones, options, cache=cache, reporter=reporter)
    count_unreadable(dataset, options, BadImages(len(dataset), dataset.spec, options.max_bad))
    plans = [bank.open(dataset, reporter) for bank in banks]
    size = request_slice_size(plans, backbones, len(dataset.distinct()))
    requests = [bank.request(dataset, plan, size) for bank, plan in zip(banks, plans, strict=True)]
    return PieceExtraction(dataset, options, banks, requests, reporter)


def requested_banks(
    dataset: Dataset, backbones: Sequence[Backbone], options: ExtractOptions, *, cache: str | Path | None,
    reporter: Reporter,
) -> list[RequestedBank]:  # fmt: skip
    """Checks a request, computes the digests of its images, and returns its banks; creates none of them."""
    place = cache_directory(cache)
    each = begin_request(dataset, backbones, options, place, reporter)
    return [
        RequestedBank(number, locate(dataset, backbone, one, place), backbone, one)
        for number, (backbone, one) in enumerate(zip(backbones, each, strict=True))
    ]
