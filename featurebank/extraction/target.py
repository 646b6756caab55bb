"""One bank that is being filled: what it lacks, how its rows are made, what it lists in the end."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.background import BackgroundWriter
from featurebank.bank.items import Items
from featurebank.bank.maintenance.sharing import adopt_rows
from featurebank.bank.writer import BankWriter, event, row_keys
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch
from featurebank.engine.table import ENGINES
from featurebank.errors import RamLimitError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import BankPlan, ExtractionJob, plan_bank
from featurebank.extraction.precision import LEAST_COSINE, PrecisionTrial
from featurebank.extraction.state import state_of
from featurebank.system.meter import Meter
from featurebank.system.progress import Reporter
from featurebank.system.runtime import installed_versions, threads
from featurebank.words import counted

_PACKAGES = ("featurebank", "tensorflow-cpu", "keras", "numpy", "pillow")
"""Packages whose versions a bank records, beside those of the engines."""


@dataclass(frozen=True)
class Running:
    """A batch on its way through the network."""

    taps: tuple[str, ...]
    batch: Batch[Any]
    parts: list[Future[dict[str, np.ndarray]]]
    """Of some of its images each, in order."""


@dataclass
class Target:
    """One bank of an extraction, while its writer holds it."""

    number: int
    backbone: Backbone
    options: ExtractOptions
    writer: BankWriter
    reporter: Reporter
    meter: Meter
    engine: str | None = None
    """None where nothing had to be computed."""
    plan: BankPlan = field(init=False)
    """What is done to the bank; `take_shared` makes it."""
    computed: int = 0
    """How many images went through the network; a view is one."""
    _done: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """(n,) for each image of the dataset, whether something was computed for its content; one image a content."""
    _engines: dict[tuple[str, ...], Engine] = field(default_factory=dict)
    trial: PrecisionTrial | None = None
    """Where the precision is below float32."""
    _batch_size: int = 0
    _told: bool = False

    def __post_init__(self) -> None:
        self._batch_size = self.options.batch_size
        if self.options.precision != "float32":
            self.trial = PrecisionTrial(lambda taps: self._load(taps, "float32"))

    @property
    def done(self) -> int:
        """For how many distinct images something was computed."""
        return int(self._done.sum())

    def take_shared(self, images: np.ndarray) -> Sequence[ExtractionJob]:
        """Takes what other banks of the cache have of some images, (n,) digests, sorted; returns what is to compute."""
        self.plan = self._planned(images)
        adopted = adopt_rows(self.writer, self.plan.shared)
        for one in adopted:
            self.reporter.say(f"{counted(one.rows, 'row')} shared with '{one.name}', not computed")
        if sum(one.rows for one in adopted) < self.plan.adopted.total():  # a shard has gone meanwhile
            self.plan = self._planned(images, neighbours=False)
        return self.plan.jobs

    def _planned(self, images: np.ndarray, *, neighbours: bool = True) -> BankPlan:
        return plan_bank(
            self.writer.path, state_of(self.writer.contents), self.options, images, number=self.number,
            neighbours=neighbours, warn=self.reporter.warn,
        )  # fmt: skip

    def depth(self, taps: tuple[str, ...]) -> int:
        """Returns how many batches the engine of some taps wants to have in flight."""
        return self._engine(taps).depth

    def submit(self, taps: tuple[str, ...], batch: Batch[Any]) -> Running:
        """Sends a batch through the network; in parts where the engine has become smaller than the batch."""
        engine = self._engine(taps)
        parts = range(0, len(batch.images), self._batch_size)
        return Running(taps, batch, [engine.submit(batch.images[i : i + self._batch_size]) for i in parts])

    def store(self, running: Running, dataset: Dataset, to: BackgroundWriter) -> int:
        """Waits for a batch and hands its rows to the writer; returns how many images it had."""
        batch = running.batch
        features = self._features(running)
        if self.trial:
            self._compare(batch.images, features)
        keys = row_keys(dataset.digests[batch.indices], batch.views)
        ids = [dataset.ids[index] for index in batch.indices.tolist()]
        to.put(ids, keys, features, {tap: self.plan.types[tap] for tap in running.taps})
        self.computed += len(keys)
        if not len(self._done):
            self._done = np.zeros(len(dataset), bool)
        self._done[batch.indices] = True
        return len(keys)

    def _compare(self, images: np.ndarray, features: dict[str, np.ndarray]) -> None:
        assert self.trial, "asked for in a lower precision alone"
        if self.trial.add(images, features):
            self.tell_precision()

    def tell_precision(self) -> None:
        """Tells how far the features are from those in float32, once."""
        if not self.trial or self._told or not (found := self.trial.summary()):
            return
        self._told = True
        for tap, cosine in found.items():
            line = (
                f"{self.options.precision}: cosine to float32 {cosine['mean']:.4f} on average, {cosine['least']:.4f} "
                f"at least, tap '{tap}' of {counted(int(cosine['images']), 'image')}"
            )
            if cosine["least"] < LEAST_COSINE:
                self.reporter.warn(f"{line}: heads will notice; --precision float32 computes exactly")
            else:
                self.reporter.say(line)

    def close(self) -> None:
        """Lets go of the engines."""
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
        except CancelledError:  # it was in flight when its engine was closed
            return self._features(self.submit(running.taps, running.batch))
        return {tap: np.concatenate([part[tap] for part in parts]) for tap in running.taps}

    def _halve(self) -> None:
        """Makes the batches of the engines half as large; the last attempt is a single image.

        Raises:
            MemoryError: they are of one image.
        """
        if self._batch_size == 1:
            message = f"{self.backbone.name} does not fit into memory, not even for one image at a time"
            raise RamLimitError(message)
        self.close()
        self._batch_size = max(1, self._batch_size // 2)
        self.reporter.warn(f"out of memory: going on with batches of {counted(self._batch_size, 'image')}")

    def _engine(self, taps: tuple[str, ...]) -> Engine:
        if taps not in self._engines:
            self.reporter.say(f"loading {self.backbone.name} (weights {self.backbone.weights})")
            with self.meter.working("load"), self.reporter.step(f"preparing the engine of {self.backbone.name}"):
                self._engines[taps] = self._load(taps, self.options.precision)
            self.engine = self._engines[taps].name
        return self._engines[taps]

    def _load(self, taps: tuple[str, ...], precision: str) -> Engine:
        return load_engine(
            self.options.engine, self.backbone, taps, batch_size=self._batch_size, precision=precision,
            cache=self.writer.path.parent, say=self.reporter.say,
        )  # fmt: skip

    def finish(
        self, items: Items, skipped: Sequence[dict[str, str]], seconds: float, busy: Mapping[str, float]
    ) -> None:
        """Lists what is there now."""
        done = self._event(seconds, busy) if self.done else None
        self.writer.finish(items, self.plan.taps, skipped, done, views=self.plan.views)

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
            threads=threads(),
            machine=platform.machine(),
            versions=installed_versions(
                "featurebank",
                "tensorflow-cpu",
                *(kind.package for kind in ENGINES.values()),
                "keras",
                "numpy",
                "pillow",
            ),
        )
