"""Computes pieces in one process, and keeps the engines for the next ones."""

from __future__ import annotations

import platform
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.pieces.notes import SkippedImage, remove_notes
from featurebank.bank.pieces.writer import PieceWriter
from featurebank.dataset import Dataset
from featurebank.engine.feed import Bad
from featurebank.errors import DatasetError
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.pieces.plan import Piece, PieceBank
from featurebank.extraction.run import FeaturePass
from featurebank.extraction.target import Target, recorded_versions
from featurebank.system.meter import Meter
from featurebank.system.progress import SILENT, Reporter
from featurebank.system.runtime import threads


@dataclass(frozen=True)
class PieceResult:
    """What a process did for some pieces: plain values, small and picklable."""

    images: int = 0
    """Number of distinct images that were computed."""
    rows: int = 0
    """Number of inputs that networks were run on: one for each bank, image and view."""
    added: tuple[int, ...] = ()
    """The number of distinct images that were computed for each bank."""
    computed: tuple[int, ...] = ()
    """The number of inputs that the network of each bank was run on."""
    skipped: tuple[SkippedImage, ...] = ()
    """The images that could not be used."""
    seconds: float = 0.0
    engines: tuple[str | None, ...] = ()
    """The engine of each bank; None if it had nothing to compute."""
    precision: str = "float32"
    busy: Mapping[str, float] = field(default_factory=dict)
    """The fraction of the time in which networks were loaded, images decoded, networks run and shards written."""


@dataclass(frozen=True)
class ProbeFeatures:
    """The features of a few images, by which the engines of two machines are compared."""

    features: Mapping[str, np.ndarray]
    """(n, …) float32 for each tap."""
    engine: str | None


class PieceRunner:
    """Computes pieces of one request in this process; the engines stay loaded until `close`.

    Args:
        backbones: the network of each bank of the request, in its order.
        options: the options of the extraction.
        reporter: receives the progress, and notes such as the choice of an engine.

    Example:
        >>> with PieceRunner([fb.load_backbone("my_networks:small")], ExtractOptions()) as runner:
        ...     runner.run([], fb.load_dataset("photos")).rows
        0
    """

    def __init__(self, backbones: Sequence[Backbone], options: ExtractOptions, *, reporter: Reporter = SILENT) -> None:
        self._backbones, self._options, self._reporter = tuple(backbones), options, reporter
        self._targets: list[Target] = []
        self._meter = Meter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the engines; the next `run` loads them again."""
        for target in self._targets:
            target.close()
        self._targets = []

    def run(self, pieces: Sequence[Piece], dataset: Dataset) -> PieceResult:
        """Computes pieces in one pass, and writes their shards and notes; pieces that are done are left out.

        Args:
            pieces: pieces of the same banks.
            dataset: a dataset with the images of the pieces, and maybe others; see `cut_dataset`.

        Raises:
            DatasetError: an image cannot be used and `on_bad_image` is "fail", or too many images cannot be used.
            FeatureRangeError: a feature is NaN, infinite or out of float16's range.
            DiskFullError: no space is left on the disk; the finished pieces are kept.
        """
        began = time.perf_counter()
        pieces = [left for piece in pieces if (left := piece.undone()).jobs]
        if not pieces:
            return PieceResult()
        targets = self._targets_of(pieces[0].banks)
        writers = [self._writer(target, pieces) for target in targets]
        self._meter = meter = Meter()
        for target in targets:
            target.begin_pass(meter)
        images = sum(len(piece.images) for piece in pieces)
        work = PiecePass(
            dataset, targets, self._options, self._reporter, meter, keeps_engines=True, writers=writers, images=images
        )
        try:
            work.compute([job for piece in pieces for job in piece.jobs], writers)
        except DatasetError:
            work.undo_lost()
            raise
        seconds = time.perf_counter() - began
        return PieceResult(
            max(target.done for target in targets), sum(target.computed for target in targets),
            tuple(target.done for target in targets), tuple(target.computed for target in targets),
            tuple(work.skipped), seconds, tuple(target.engine for target in targets), self._options.precision,
            work.busy(seconds),
        )  # fmt: skip

    def compute(self, banks: Sequence[PieceBank], number: int, taps: tuple[str, ...]) -> ProbeFeatures:
        """Computes the features of two made images, with the engine that pieces of the same taps will use.

        Args:
            banks: all banks of the request.
            number: the number of the bank.
            taps: what to compute.
        """
        target = self._targets_of(banks)[number]
        size = target.backbone.image_size
        images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
        return ProbeFeatures(target.compute(taps, images), target.engine)

    def _targets_of(self, banks: Sequence[PieceBank]) -> list[Target]:
        if not self._targets:
            self._targets = [
                Target(number, backbone, self._options, bank.path.parent, self._reporter, self._meter)
                for number, (backbone, bank) in enumerate(zip(self._backbones, banks, strict=True))
            ]
        for target, bank in zip(self._targets, banks, strict=True):
            target.dtypes = bank.dtypes
        return self._targets

    def _writer(self, target: Target, pieces: Sequence[Piece]) -> PieceWriter:
        bank = pieces[0].banks[target.number]
        contents = [one for piece in pieces if (one := piece.contents().get(target.number))]

        def about() -> dict[str, Any]:
            trial = {"cosine_to_float32": target.trial.summary()} if target.trial else {}
            return {
                "engine": target.engine, "precision": self._options.precision, "threads": threads(),
                "machine": platform.machine(), "host": socket.gethostname(),
                "versions": recorded_versions(target.backbone), **trial,
            }  # fmt: skip

        return PieceWriter(bank.path, bank.key, contents, about)


@dataclass
class PiecePass(FeaturePass):
    """One pass over the images of some pieces."""

    writers: Sequence[PieceWriter] = ()
    images: int = 0
    """The number of distinct images of the pieces, of which only some may be bad."""
    skipped: list[SkippedImage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._count = BadImages(self.images, self.dataset.spec, self.options.max_bad)

    def _add_bad(self, image: Bad, *, place: int) -> None:
        super()._add_bad(image, place=place)
        one = SkippedImage(bytes(self.dataset.digests[image.index]).decode(), image.reason, image.lost)
        self.skipped.append(one)
        for writer in self.writers:
            writer.skip(one)

    def undo_lost(self) -> None:
        """Deletes the notes of this pass that skip a lost image: too many are lost, so their disk may come back."""
        for writer in self.writers:
            remove_notes(writer.path, [note for note in writer.notes if any(one.lost for one in note.skipped)])
