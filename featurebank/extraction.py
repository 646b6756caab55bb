"""Stage: a dataset and a backbone -> a bank.

First it is decided which images lack which taps (`missing_taps`), then just those are computed. Images are decoded in
a pool of threads, run through the network in batches, and written by a thread of their own; an image that is in the
bank already costs a look-up.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featurebank.backbone import Backbone
from featurebank.bank.background import BackgroundWriter
from featurebank.bank.manifest import Items
from featurebank.bank.reader import Bank
from featurebank.bank.upkeep import bank_path
from featurebank.bank.writer import BankWriter, row_keys
from featurebank.dataset import Dataset
from featurebank.digest import of_recipe
from featurebank.engine.catalog import Engine, load_engine
from featurebank.engine.feed import Batch, feed
from featurebank.errors import ConfigError, DatasetError
from featurebank.progress import SILENT, Advance, Reporter
from featurebank.runtime import default_cache, installed_versions, threads

PRECISION = "float32"


@dataclass(frozen=True)
class ExtractOptions:
    """How to extract; see `extract`."""

    taps: tuple[str, ...] = ("pooled",)
    engine: str = "auto"
    batch_size: int = 32
    store: str | None = None
    on_bad_image: str = "skip"

    def check(self, backbone: Backbone) -> None:
        """Raises ConfigError where an option is wrong."""
        for tap in self.taps:
            backbone.check_tap(tap)
        problem = None
        if not self.taps:
            problem = "no tap was asked for: expected at least one, as 'pooled'"
        elif self.batch_size < 1:
            problem = f"the batch size is {self.batch_size}: expected 1 or more"
        elif self.store not in {None, "float32", "float16"}:
            problem = f"cannot store features as '{self.store}': expected float32 or float16"
        elif self.on_bad_image not in {"skip", "fail"}:
            problem = f"on_bad_image is '{self.on_bad_image}': expected skip or fail"
        if problem:
            raise ConfigError(problem)


@dataclass(frozen=True)
class Extraction:
    """What an extraction did."""

    bank: Bank
    rows: int
    """Distinct images of this dataset in the bank."""
    added: int
    """Of those, computed now (wholly or some taps)."""
    reused: int
    """Of those, found in the bank."""
    skipped: tuple[Mapping[str, str], ...]
    """`id` and `reason` of each image without a row."""
    seconds: float
    engine: str | None
    """None where nothing had to be computed."""
    precision: str = PRECISION

    @property
    def images_per_second(self) -> float:
        """Images computed a second, from the first look into the bank to the last shard on disk."""
        return self.added / self.seconds if self.added else 0.0


def extract(
    dataset: Dataset,
    backbone: Backbone,
    taps: str | Sequence[str] = ("pooled",),
    *,
    cache: str | Path | None = None,
    engine: str = "auto",
    batch_size: int = 32,
    store: Literal["float32", "float16"] | None = None,
    on_bad_image: Literal["skip", "fail"] = "skip",
    reporter: Reporter = SILENT,
) -> Bank:
    """Computes the features that the bank of this dataset and backbone lacks, and opens it.

    Args:
        dataset: the images.
        backbone: the network, with its weights and preprocessing.
        taps: "pooled", "map", "LAYER", "LAYER:avg" or "LAYER:max"; any number, computed in one pass.
        cache: where banks lie; default `$FEATUREBANK_CACHE`, else `./cache`.
        engine: "auto" or the name of an engine.
        batch_size: images run through the network at once.
        store: type on disk; default float32 for vectors, float16 for maps.
        on_bad_image: "skip" lists unreadable images with their reason and goes on; "fail" stops at the first.
        reporter: where progress is shown.

    Raises:
        ConfigError: an option is wrong.
        DatasetError: no image can be read, or one cannot and `on_bad_image` is "fail".
        BankLockedError: another process writes this bank.
        FeatureRangeError: a feature is NaN, infinite or out of float16's range.
        DiskFullError: no space is left; what was written stays.
    """
    options = ExtractOptions((taps,) if isinstance(taps, str) else tuple(taps), engine, batch_size, store, on_bad_image)
    return run_extraction(dataset, backbone, options, cache=cache, reporter=reporter).bank


def run_extraction(
    dataset: Dataset,
    backbone: Backbone,
    options: ExtractOptions,
    *,
    cache: str | Path | None = None,
    reporter: Reporter = SILENT,
) -> Extraction:
    """Does what `extract` does, and returns the bank with an account of the work."""
    options.check(backbone)
    with reporter.track("read", len(dataset), "images") as advance:
        dataset.fingerprint(advance)
    for line in dataset.warnings():
        reporter.warn(line)
    path = locate(dataset, backbone, cache)
    began = time.perf_counter()
    with BankWriter(path, _recipe(backbone), _dataset_record(dataset)) as writer:
        for line in writer.lost:
            reporter.warn(line)
        work = _Work(dataset, backbone, options, writer, reporter)
        added = work.run()
        seconds = time.perf_counter() - began
        rows = work.finish(added, seconds)
    skipped = tuple({"id": s["id"], "reason": s["reason"]} for s in work.skipped())
    return Extraction(Bank(path), rows, added, rows - added, skipped, seconds, work.engine)


def locate(dataset: Dataset, backbone: Backbone, cache: str | Path | None = None) -> Path:
    """Returns where the bank of a dataset and a backbone lies, whether it is there or not."""
    return bank_path(
        Path(cache) if cache else default_cache(), dataset.name, backbone.name, of_recipe(_recipe(backbone))
    )


def missing_taps(stored: Mapping[str, np.ndarray], wanted: np.ndarray) -> dict[tuple[str, ...], np.ndarray]:
    """Decides what is to be computed.

    Args:
        stored: for each tap the keys of the rows that it has, (n,) of `KEY_DTYPE`.
        wanted: the keys that each tap should have, sorted and distinct.

    Returns:
        For each set of taps to compute in one pass, the keys of the rows that lack just those, in order.
    """
    lacking = np.stack([~np.isin(wanted, keys) for keys in stored.values()], axis=1)
    groups: dict[tuple[str, ...], np.ndarray] = {}
    for pattern in np.unique(lacking, axis=0):
        if pattern.any():
            names = tuple(tap for tap, lacks in zip(stored, pattern, strict=True) if lacks)
            groups[names] = wanted[(lacking == pattern).all(axis=1)]
    return groups


def _recipe(backbone: Backbone) -> dict[str, Any]:
    return {**backbone.recipe, "precision": PRECISION, "views": None}


def _dataset_record(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "spec": dataset.spec,
        **({"subset": dict(dataset.subset)} if dataset.subset else {}),
        "classes": list(dataset.classes),
        "fractions": list(dataset.fractions),
        "seed": dataset.seed,
    }


@dataclass
class _Work:
    """One extraction on its way, while it holds the bank."""

    dataset: Dataset
    backbone: Backbone
    options: ExtractOptions
    writer: BankWriter
    reporter: Reporter
    bad: dict[bytes, str] = field(default_factory=dict)
    """The reason for each content that cannot be decoded."""
    engine: str | None = None

    @property
    def taps(self) -> tuple[str, ...]:
        """What was asked for and what the bank has: a new image gets all of them, so that no tap falls behind."""
        return tuple(dict.fromkeys((*self.writer.manifest.taps, *self.options.taps)))

    def run(self) -> int:
        """Computes all that is missing; returns for how many images something was computed."""
        self._refuse_other_type()
        self._refuse_unreadable()
        digests = self.dataset.digests
        contents, first = np.unique(digests, return_index=True)
        self._index_of = dict(zip(contents.tolist(), first.tolist(), strict=True))
        self._look_again_at_bad_ones()
        keys = row_keys(contents[(contents != b"") & ~np.isin(contents, self._bad_contents())])
        groups = missing_taps({tap: self.writer.stored(tap) for tap in self.taps}, keys)
        if not groups:
            return 0
        with self.reporter.track("extract", sum(len(keys) for keys in groups.values()), "images") as advance:
            return len(set().union(*(self._compute(taps, keys, advance) for taps, keys in groups.items())))

    def finish(self, added: int, seconds: float) -> int:
        """Lists the images that have all rows; returns how many distinct ones there are."""
        dataset, skipped = self.dataset, self.skipped()
        good = np.flatnonzero((dataset.digests != b"") & ~np.isin(dataset.digests, self._bad_contents()))
        if not len(good):
            reason = skipped[0]["reason"]
            message = f"none of the {len(dataset)} images of '{dataset.spec}' can be used; the first: {reason}"
            raise DatasetError(message)
        ids = tuple(dataset.ids[i] for i in good)
        items = Items(ids, dataset.digests[good], dataset.labels[good], dataset.splits[good])
        self.writer.finish(items, self.taps, skipped, self._event(added, seconds) if added else None)
        return len(np.unique(items.digests))

    def skipped(self) -> list[dict[str, str]]:
        """Returns `id`, `reason` and where it could be read `digest` of each image without a row, sorted by id."""
        found = [{"id": s.id, "reason": s.reason} for s in self.dataset.unreadable]
        for index in np.flatnonzero(np.isin(self.dataset.digests, self._bad_contents())):
            content = bytes(self.dataset.digests[index])
            found.append({"id": self.dataset.ids[index], "reason": self.bad[content], "digest": content.decode()})
        return sorted(found, key=lambda entry: entry["id"])

    def _refuse_other_type(self) -> None:
        for tap in self.options.taps:
            stored = self.writer.stored_dtype(tap)
            if stored and self.options.store and stored != self.options.store:
                message = (
                    f"tap '{tap}' is stored as {stored} in this bank, --store asks for {self.options.store}: leave "
                    "--store out, or forget the bank with 'featurebank cache rm'"
                )
                raise ConfigError(message)

    def _refuse_unreadable(self) -> None:
        if self.options.on_bad_image == "fail" and self.dataset.unreadable:
            first = self.dataset.unreadable[0]
            raise _bad_image(first.id, first.reason)

    def _look_again_at_bad_ones(self) -> None:
        """Decodes what could not be decoded last time: no engine is needed for images that still cannot."""
        known = [s["digest"].encode() for s in self.writer.manifest.skipped if "digest" in s]
        again = [self._index_of[content] for content in known if content in self._index_of]
        for batch in self._feed(again):
            self._note_bad(batch.bad)

    def _note_bad(self, bad: Sequence[tuple[int, str]]) -> None:
        for index, reason in bad:
            if self.options.on_bad_image == "fail":
                raise _bad_image(self.dataset.ids[index], reason)
            self.bad[bytes(self.dataset.digests[index])] = reason

    def _bad_contents(self) -> np.ndarray:
        return np.array(list(self.bad), dtype="S32")

    def _compute(self, taps: tuple[str, ...], keys: np.ndarray, advance: Advance) -> set[bytes]:
        """Computes and writes some taps of some images; returns the contents done."""
        engine: Engine | None = None
        done: set[bytes] = set()
        indices = [self._index_of[content] for content in keys["digest"].tolist()]
        background = BackgroundWriter(self.writer, self._dtypes(taps))
        with background, contextlib.closing(self._feed(indices)) as batches:
            for batch in batches:
                self._note_bad(batch.bad)
                if len(batch.indices):
                    engine = engine or self._load_engine(taps)
                    rows = row_keys(self.dataset.digests[batch.indices])
                    background.put([self.dataset.ids[i] for i in batch.indices], rows, engine(batch.images))
                    done.update(rows["digest"].tolist())
                advance(len(batch.indices) + len(batch.bad))
        return done

    def _feed(self, indices: Sequence[int]) -> Generator[Batch, None, None]:
        return feed(self.dataset, self.backbone, indices, self.options.batch_size)

    def _load_engine(self, taps: tuple[str, ...]) -> Engine:
        self.reporter.say(f"loading {self.backbone.name} (weights {self.backbone.weights})")
        engine = load_engine(self.options.engine, self.backbone, taps, batch_size=self.options.batch_size)
        self.engine = engine.name
        return engine

    def _dtypes(self, taps: tuple[str, ...]) -> dict[str, str | None]:
        """Returns the type each tap is to be stored in; None leaves it to the writer."""
        asked = dict.fromkeys(self.options.taps, self.options.store)
        return {tap: self.writer.stored_dtype(tap) or asked.get(tap) for tap in taps}

    def _event(self, added: int, seconds: float) -> dict[str, Any]:
        return {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "added": added,
            "taps": list(self.options.taps),
            "seconds": round(seconds, 3),
            "engine": self.engine,
            "precision": PRECISION,
            "threads": threads(),
            "machine": platform.machine(),
            "versions": installed_versions("featurebank", "tensorflow", "tensorflow-cpu", "keras", "numpy", "pillow"),
        }


def _bad_image(name: str, reason: str) -> DatasetError:
    return DatasetError(f"image '{name}' cannot be used: {reason}; mend or remove it, or use --on-bad-image skip")
