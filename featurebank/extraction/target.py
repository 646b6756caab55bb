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
from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.bank.maintenance.sharing import Adopted, adopt_rows
from featurebank.bank.writer import BankWriter, event, row_keys
from featurebank.dataset import Dataset
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch
from featurebank.errors import ConfigError, RamLimitError
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import ExtractionJob, missing_taps
from featurebank.extraction.precision import LEAST_COSINE, PrecisionTrial
from featurebank.system.meter import Meter
from featurebank.system.progress import Reporter
from featurebank.system.runtime import installed_versions, threads
from featurebank.words import counted


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
    def taps(self) -> tuple[str, ...]:
        """What was asked for and what the bank has: a new image gets all of them, so that no tap falls behind."""
        return tuple(dict.fromkeys((*self.writer.manifest.taps, *self.options.taps)))

    @property
    def views(self) -> int:
        """How many views an image gets: what was asked for, and no fewer than the others have."""
        return max(self.writer.manifest.views, self.options.views)

    @property
    def done(self) -> int:
        """For how many distinct images something was computed."""
        return int(self._done.sum())

    def refuse_other_type(self) -> None:
        """Raises ConfigError where a tap is stored in another type than is asked for."""
        for tap in self.options.taps:
            stored = self.writer.stored_dtype(tap)
            if stored and self.options.store and stored != self.options.store:
                message = (
                    f"tap '{tap}' is stored as {stored} in this bank, --store asks for {self.options.store}: leave "
                    "--store out, or forget the bank with 'featurebank cache rm'"
                )
                raise ConfigError(message)

    def adopt(self, wanted: np.ndarray) -> list[Adopted]:
        """Takes what other banks of the cache have of the images that lack something."""
        lacking = {
            (tap, view): wanted[~contained(wanted, self.writer.stored(tap, view))]
            for tap in self.taps
            for view in range(self.views + 1)
        }
        types = dict.fromkeys(self.options.taps, self.options.store)
        return adopt_rows(self.writer, lacking, types, self.reporter.warn)

    def jobs(self, wanted: np.ndarray) -> list[ExtractionJob]:
        """Returns what is still to be computed of these images, (n,) digests, sorted."""
        return [
            ExtractionJob(self.number, taps, view, digests)
            for view in range(self.views + 1)
            for taps, digests in missing_taps({t: self.writer.stored(t, view) for t in self.taps}, wanted).items()
        ]

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
        to.put(ids, keys, features, self._dtypes(running.taps))
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
        self.writer.finish(items, self.taps, skipped, done, views=self.views)

    def _dtypes(self, taps: tuple[str, ...]) -> dict[str, str | None]:
        """Returns the type each tap is to be stored in; None leaves it to the writer."""
        asked = dict.fromkeys(self.options.taps, self.options.store)
        return {tap: self.writer.stored_dtype(tap) or asked.get(tap) for tap in taps}

    def _event(self, seconds: float, busy: Mapping[str, float]) -> dict[str, Any]:
        return event(
            added=self.done,
            computed=self.computed,
            **({"cosine_to_float32": self.trial.summary()} if self.trial else {}),
            taps=list(self.taps),
            views=self.views,
            seconds=round(seconds, 3),
            engine=self.engine,
            precision=self.options.precision,
            busy={part: round(share, 3) for part, share in busy.items()},
            threads=threads(),
            machine=platform.machine(),
            versions=installed_versions(
                "featurebank", "tensorflow", "tensorflow-cpu", "openvino", "keras", "numpy", "pillow"
            ),
        )
