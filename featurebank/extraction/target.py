"""One bank of an extraction: its engines, the batches under way to it, and its plan if it is being filled."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.background import BackgroundWriter
from featurebank.bank.items import Items
from featurebank.bank.maintenance.sharing import share_rows
from featurebank.bank.pieces.adoption import adopt_pieces
from featurebank.bank.pieces.notes import PieceNote, remove_notes
from featurebank.bank.pieces.request import remove_requests
from featurebank.bank.writer import BankWriter, event, row_keys
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch
from featurebank.engine.store import EngineKey, EngineStore
from featurebank.engine.table import ENGINES
from featurebank.errors import BackboneWarning, BankWarning, RamLimitError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import BankPlan, ExtractionJob, plan_bank
from featurebank.extraction.precision import LEAST_COSINE, PrecisionTrial
from featurebank.extraction.state import state_of
from featurebank.system.meter import Meter
from featurebank.system.progress import Reporter
from featurebank.system.runtime import installed_versions, processor, threads
from featurebank.words import counted

_PACKAGES = ("featurebank", "tensorflow-cpu", "keras", "numpy", "pillow")
"""Packages whose versions a bank records, beside those of the engines and of the network's libraries."""


@dataclass(frozen=True)
class Running:
    """A batch that was submitted to an engine."""

    taps: tuple[str, ...]
    batch: Batch[Any]
    parts: list[Future[dict[str, np.ndarray]]]
    """The results of consecutive parts of the batch, by tap."""


@dataclass
class Target:
    """Computes the features of one bank: a network with its engines."""

    number: int
    backbone: Backbone
    options: ExtractOptions
    cache: Path
    """The directory of the banks, where engines keep converted networks."""
    reporter: Reporter
    meter: Meter
    engine: str | None = None
    """The name of the engine; None if nothing had to be computed."""
    dtypes: Mapping[str, str | None] = field(default_factory=dict)
    """The dtype on disk of each tap; None means `default_dtype` of its shape."""
    computed: int = 0
    """The number of inputs that the network was run on; each view of an image counts."""
    network_seconds: float = 0.0
    """The time of the network's own work: while others run beside it, a part of it counts."""
    load_seconds: float = 0.0
    """The time until its engines were ready."""
    _done: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) bool: for which images of the dataset something was computed. Of duplicates, only one is marked."""
    _engines: dict[tuple[str, ...], Engine] = field(default_factory=dict)
    trial: PrecisionTrial | None = None
    """Compares the features with those in float32; None if the precision is float32."""
    engines: EngineStore | None = None
    """Where engines stay loaded for the next extraction; None to close them."""
    _batch_size: int = 0
    _has_reported: bool = False

    def __post_init__(self) -> None:
        self._batch_size = self.options.batch_size
        if self.options.precision != "float32":
            self.trial = PrecisionTrial(lambda taps: self._load(taps, "float32"))

    @property
    def done(self) -> int:
        """The number of distinct images for which something was computed."""
        return int(self._done.sum())

    def begin_pass(self, meter: Meter) -> None:
        """Counts anew, for a pass that follows another one with the same engines.

        Args:
            meter: measures the pass.
        """
        self.meter, self.computed, self._done = meter, 0, np.zeros(0, bool)

    def depth(self, taps: tuple[str, ...]) -> int:
        """Returns the number of batches that should be under way in the engine of these taps."""
        return self._engine(taps).depth

    def submit(self, taps: tuple[str, ...], batch: Batch[Any]) -> Running:
        """Submits a batch to the engine, in parts if the batch size of the engine was reduced."""
        engine = self._engine(taps)
        parts = range(0, len(batch.images), self._batch_size)
        return Running(taps, batch, [engine.submit(batch.images[i : i + self._batch_size]) for i in parts])

    def compute(self, taps: tuple[str, ...], images: np.ndarray) -> dict[str, np.ndarray]:
        """Computes the features of some images that belong to no dataset.

        Args:
            taps: what to compute.
            images: (n, size, size, 3) uint8 RGB.
        """
        zeros = np.zeros(len(images), np.uint8)
        return self._features(self.submit(taps, Batch(None, np.arange(len(images)), zeros, images)))

    def store(self, running: Running, dataset: Dataset, to: BackgroundWriter) -> int:
        """Waits for the features of a batch and passes them to the writer; returns the number of its inputs."""
        batch = running.batch
        features = self._features(running)
        if self.trial:
            self._compare(batch.images, features)
        keys = row_keys(dataset.digests[batch.indices], batch.views)
        ids = [dataset.ids[index] for index in batch.indices.tolist()]
        to.put(ids, keys, features, {tap: self.dtypes[tap] for tap in running.taps})
        self.computed += len(keys)
        if not len(self._done):
            self._done = np.zeros(len(dataset), bool)
        self._done[batch.indices] = True
        return len(keys)

    def _compare(self, images: np.ndarray, features: dict[str, np.ndarray]) -> None:
        assert self.trial, "only called for a lower precision"
        if self.trial.add(images, features):
            self.report_precision()

    def report_precision(self) -> None:
        """Reports, once, how close the features are to those in float32; does nothing if the precision is float32."""
        if not self.trial or self._has_reported or not (cosines := self.trial.summary()):
            return
        self._has_reported = True
        for tap, cosine in cosines.items():
            line = (
                f"{self.options.precision}: cosine to float32 {cosine['mean']:.4f} on average, {cosine['least']:.4f} "
                f"at least, tap '{tap}' of {counted(int(cosine['images']), 'image')}"
            )
            if cosine["least"] < LEAST_COSINE:
                self.reporter.warn(f"{line}: heads will notice; --precision float32 computes exactly", BackboneWarning)
            else:
                self.reporter.say(line)

    def close(self) -> None:
        """Closes the engines, or leaves them to those that are kept."""
        while self.engines is not None and self._engines:
            taps, engine = self._engines.popitem()
            self.engines.add(self._key(taps), engine)
        self._unload()

    def _unload(self) -> None:
        while self._engines:
            self._engines.popitem()[1].close()
        if self.trial:
            self.trial.close()

    def _features(self, running: Running) -> dict[str, np.ndarray]:
        try:
            parts = [part.result() for part in running.parts]
        except MemoryError:
            self._halve()
            return self._features(self.submit(running.taps, running.batch))
        except CancelledError:  # its engine was closed, to be loaded with a smaller batch size
            return self._features(self.submit(running.taps, running.batch))
        return {tap: np.concatenate([part[tap] for part in parts]) for tap in running.taps}

    def _halve(self) -> None:
        """Halves the batch size of the engines after one ran out of memory.

        Raises:
            RamLimitError: the batch size is 1 already.
        """
        if self._batch_size == 1:
            message = f"{self.backbone.name} does not fit into memory, not even for one image at a time"
            raise RamLimitError(message)
        self._unload()
        self._batch_size = max(1, self._batch_size // 2)
        self.reporter.warn(f"out of memory: going on with batches of {counted(self._batch_size, 'image')}")

    def _engine(self, taps: tuple[str, ...]) -> Engine:
        if taps not in self._engines and self.engines and (engine := self.engines.pop(self._key(taps))):
            self._engines[taps], self.engine = engine, engine.name
        if taps not in self._engines:
            self.reporter.say(f"loading {self.backbone.name} (weights {self.backbone.weights})")
            began = time.perf_counter()
            with self.meter.working("load"), self.reporter.step(f"preparing the engine of {self.backbone.name}"):
                self._engines[taps] = self._load(taps, self.options.precision)
            self.load_seconds += time.perf_counter() - began
            self.engine = self._engines[taps].name
        return self._engines[taps]

    def _key(self, taps: tuple[str, ...]) -> EngineKey:
        return EngineKey(self.backbone.digest, self.options.engine, taps, self._batch_size, self.options.precision)

    def _load(self, taps: tuple[str, ...], precision: str) -> Engine:
        return load_engine(
            self.options.engine, self.backbone, taps, batch_size=self._batch_size, precision=precision,
            cache=self.cache, say=self.reporter.say,
        )  # fmt: skip


@dataclass
class BankTarget(Target):
    """One bank that an extraction fills, while its writer holds the lock."""

    writer: BankWriter = field(kw_only=True)
    plan: BankPlan = field(init=False)
    """What the extraction does to the bank; `begin` sets it."""
    _pieces: Sequence[PieceNote] = ()
    """The notes of the pieces that `begin` listed."""

    def begin(self, images: np.ndarray) -> Sequence[ExtractionJob]:
        """Plans the extraction, and lists the rows that finished pieces or other banks of the cache already have.

        Args:
            images: the content digests of the images, (n,) "S32", sorted and distinct.

        Returns:
            The jobs that compute the other missing rows.
        """
        warn = partial(self.reporter.warn, kind=BankWarning)
        if rows := (pieces := adopt_pieces(self.writer, warn)).rows:
            self.reporter.say(f"{counted(rows, 'row')} of finished pieces listed, not computed")
        self._pieces = pieces.notes
        self.plan = self._make_plan(images)
        shared = share_rows(self.writer, self.plan.shared)
        for one in shared:
            self.reporter.say(f"{counted(one.rows, 'row')} shared with '{one.name}', not computed")
        if sum(one.rows for one in shared) < self.plan.shared_rows.total():  # a shard was deleted meanwhile
            self.plan = self._make_plan(images, neighbours=False)
        self.dtypes = self.plan.dtypes
        return self.plan.jobs

    def _make_plan(self, images: np.ndarray, *, neighbours: bool = True) -> BankPlan:
        return plan_bank(
            self.writer.path, state_of(self.writer.contents), self.options, images, number=self.number,
            neighbours=neighbours, warn=partial(self.reporter.warn, kind=BankWarning),
        )  # fmt: skip

    def finish(
        self, items: Items, skipped: Sequence[dict[str, str]], seconds: float, busy: Mapping[str, float],
        networks: int = 1,
    ) -> None:  # fmt: skip
        """Writes the item table and the event of this extraction, by so many networks, into the manifest."""
        done = {**self._event(seconds, busy), "networks": networks} if self.done else None
        self.writer.finish(items, self.plan.taps, skipped, done, views=self.plan.views)
        remove_notes(self.writer.path, self._pieces)
        remove_requests(self.writer.path)

    def _event(self, seconds: float, busy: Mapping[str, float]) -> dict[str, Any]:
        return event(
            added=self.done,
            computed=self.computed,
            **({"cosine_to_float32": self.trial.summary()} if self.trial else {}),
            taps=list(self.plan.taps),
            views=self.plan.views,
            seconds=round(seconds, 3),
            engine=self.engine,
            precision=self.options.precision,
            busy={part: round(share, 3) for part, share in busy.items()},
            network={"seconds": round(self.network_seconds, 6), "load_seconds": round(self.load_seconds, 6)},
            threads=threads(),
            machine=platform.machine(),
            processor=processor(),
            versions=recorded_versions(self.backbone),
        )


def recorded_versions(backbone: Backbone) -> dict[str, str]:
    """Returns the versions of the packages that a bank records.

    Args:
        backbone: the network of the bank; packages of engines that cannot run it are left out.
    """
    engines = [kind.package for kind in ENGINES.values() if backbone.form in kind.forms]
    return installed_versions(*dict.fromkeys((*_PACKAGES, *engines, *backbone.libraries)))
