"""Computes missing rows in one pass over the images: all of several banks, or those of pieces (`pieces.runner`).

Threads decode the images and prepare the inputs of the networks; engines run the networks; threads write the features.
Several batches are under way at a time, so that none of the three waits for the others. An image is decoded once for
all networks and views, and duplicates, which have the same content digest, are computed once.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from featurebank.bank.background import BackgroundWriter, RowWriter
from featurebank.bank.index import Finder
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.engine.feed import Bad, Batch, Prepared, feed
from featurebank.errors import DatasetError
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import ExtractionJob
from featurebank.extraction.reading import Inputs, Lane, Reading, decode_any
from featurebank.extraction.request import dataset_items
from featurebank.extraction.state import state_of
from featurebank.extraction.target import BankTarget, Running, Target
from featurebank.system import digest
from featurebank.system.meter import Meter, SharedTime
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import threads
from featurebank.words import counted


@dataclass
class FeaturePass:
    """Computes rows of a dataset's images in one pass; each image is decoded once."""

    dataset: Dataset
    targets: Sequence[Target]
    options: ExtractOptions
    reporter: Reporter
    meter: Meter
    bad: dict[bytes, str] = field(default_factory=dict)
    """Why an image cannot be decoded, by the digest of its content."""
    keeps_engines: bool = False
    """Whether the engines stay loaded for the next pass."""
    _count: BadImages = field(init=False)
    _networks: SharedTime = field(default_factory=SharedTime)
    """The time of each target's network, by the digest of the network."""

    def __post_init__(self) -> None:
        self._count = BadImages(len(self.dataset), self.dataset.spec, self.options.max_bad)

    def compute(self, jobs: Sequence[ExtractionJob], rows_to: Sequence[RowWriter]) -> None:
        """Computes the rows of jobs.

        Args:
            jobs: the jobs; the dataset has all of their images.
            rows_to: what takes the rows of each target.

        Raises:
            DatasetError: an image cannot be used and `on_bad_image` is "fail", or too many images cannot be used.
        """
        reading = Reading.plan(self.dataset.digests, jobs)
        rows = sum(len(job.digests) for job in jobs)
        unit = "images" if len({(job.bank, job.view) for job in jobs}) == 1 else "rows"
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(BackgroundWriter(to, self.meter)) for to in rows_to]
            if not self.keeps_engines:
                for target in self.targets:
                    stack.callback(target.close)
            advance = stack.enter_context(self.reporter.track("extract", rows, unit))
            inputs = Inputs(self.dataset, [t.backbone for t in self.targets], self.options.augmentation)

            def prepare(index: int) -> Prepared[Lane]:
                with self.meter.working("decode"), in_flight():
                    return inputs.prepare(index, reading.jobs_of(index))

            batches = feed(prepare, reading.indices.tolist(), self.options.batch_size)
            self._forward(stack.enter_context(contextlib.closing(batches)), reading, writers, advance)

    def _forward(
        self, batches: Iterator[Batch[Lane] | Bad], reading: Reading, writers: Sequence[BackgroundWriter],
        advance: Advance,
    ) -> None:  # fmt: skip
        """Sends batches to the engines and their features to the writers, in order.

        Each engine has `depth` batches under way: the next ones are submitted before the features of the first arrive.
        """
        running: deque[tuple[Target, Running]] = deque()

        def store_first() -> None:
            target, first = running.popleft()
            advance(target.store(first, self.dataset, writers[target.number]))

        for batch in batches:
            if isinstance(batch, Bad):
                self._add_bad(batch, place=int(reading.place[batch.index]))
                advance(len(reading.jobs_of(batch.index)))
                continue
            self._count.good(int(reading.place[batch.indices].max()))
            target = self.targets[batch.lane.bank]
            depth = target.depth(batch.lane.taps)
            while len(running) >= depth:
                store_first()
            running.append((target, self._submit(target, batch)))
        while running:
            store_first()
        self._count.end()
        for target in self.targets:
            target.network_seconds = self._networks.seconds(target.backbone.digest)
            target.report_precision()  # with few images, it was not reported during the pass

    def _submit(self, target: Target, batch: Batch[Lane]) -> Running:
        """Submits a batch to its engine, and measures until its features are there."""
        network = target.backbone.digest

        def ended(_: object) -> None:
            self.meter.stop("forward")
            self._networks.stop(network)

        self.meter.start("forward")  # before `submit`, because some engines compute before `submit` returns
        self._networks.start(network)
        sent = target.submit(batch.lane.taps, batch)
        sent.parts[-1].add_done_callback(ended)
        return sent

    def busy(self, seconds: float) -> dict[str, float]:
        """Returns the fraction of a period (s) in which each part worked; for decoding, the mean over the threads."""
        return {
            "decode": self.meter.share("decode", seconds, threads()), "forward": self.meter.share("forward", seconds),
            "write": self.meter.share("write", seconds), "load": self.meter.share("load", seconds),
        }  # fmt: skip

    def _add_bad(self, image: Bad, *, place: int) -> None:
        """Records that an image is bad.

        Args:
            image: the image.
            place: its position in the order of reading.

        Raises:
            DatasetError: `on_bad_image` is "fail", or too many images are bad.
        """
        name = self.dataset.ids[image.index]
        if self.options.on_bad_image == "fail":
            raise _bad_image(name, image.reason, labelled=self.dataset.contents.labelled)
        self._count.add(name, image.reason, place=place, lost=image.lost)
        self.bad[bytes(self.dataset.digests[image.index])] = image.reason

    def _bad_contents(self) -> np.ndarray:
        return np.array(list(self.bad), dtype="S32")


@dataclass
class ExtractionPass(FeaturePass):
    """Fills the banks of one extraction; the caller holds the locks of the banks."""

    targets: Sequence[BankTarget]

    def run(self) -> None:
        """Computes all missing rows.

        Raises:
            ConfigError: a requested tap is already stored with another dtype.
            DatasetError: an image cannot be used and `on_bad_image` is "fail", or too many images cannot be used.
        """
        count_unreadable(self.dataset, self.options, self._count)
        self._retry_bad_images()
        contents = self.dataset.distinct()
        good = contents[~np.isin(contents, self._bad_contents())]
        if jobs := [job for target in self.targets for job in target.begin(good)]:
            self.compute(jobs, [target.writer for target in self.targets])

    def finish(self, seconds: float) -> int:
        """Writes the item table of each bank, which lists the images that have all rows.

        Args:
            seconds: the duration of the extraction, for the history of the bank.

        Returns:
            The number of distinct images in the table.

        Raises:
            DatasetError: no image can be used.
        """
        dataset, skipped = self.dataset, self.skipped()
        good = np.flatnonzero((dataset.digests != b"") & ~np.isin(dataset.digests, self._bad_contents()))
        if not len(good):
            reason = skipped[0]["reason"]
            message = (
                f"none of the {counted(len(dataset), 'image')} of '{dataset.spec}' can be used; the first: {reason}"
            )
            raise DatasetError(message)
        items = dataset_items(dataset, good)
        networks = sum(target.done > 0 for target in self.targets)
        for target in self.targets:
            target.finish(items, skipped, seconds, self.busy(seconds), networks)
        return len(digest.distinct(items.digests))

    def skipped(self) -> list[dict[str, str]]:
        """Returns `id`, `reason` and (if the file is readable) `digest` of each image that cannot be used, by id."""
        entries = [{"id": s.id, "reason": s.reason} for s in self.dataset.unreadable]
        for index in np.flatnonzero(np.isin(self.dataset.digests, self._bad_contents())).tolist():
            content = bytes(self.dataset.digests[index])
            entries.append({"id": self.dataset.ids[index], "reason": self.bad[content], "digest": content.decode()})
        return sorted(entries, key=lambda entry: entry["id"])

    def _retry_bad_images(self) -> None:
        """Tries to decode the images that the last extraction could not decode.

        This comes before the plan: the images that still fail need no rows, and if only these lack rows, no engine is
        loaded.
        """
        known = np.unique(np.concatenate([state_of(target.writer.contents).bad for target in self.targets]))
        again = Finder(self.dataset.digests).find(known)

        def decode(index: int) -> Prepared[Lane]:
            with in_flight():
                for levels in dict.fromkeys(target.backbone.levels for target in self.targets):
                    decode_any(self.dataset, index, levels)
            return ()

        for item in feed(decode, again[again >= 0].tolist(), self.options.batch_size):
            assert isinstance(item, Bad), "a good image has no inputs here, so there are no batches"
            self._add_bad(item, place=0)


def count_unreadable(dataset: Dataset, options: ExtractOptions, count: BadImages) -> None:
    """Counts the files that could not be read before an extraction.

    Raises:
        DatasetError: there is one and `on_bad_image` is "fail", or there are too many.
    """
    if unreadable := dataset.unreadable:
        first = unreadable[0]
        if options.on_bad_image == "fail":
            raise _bad_image(first.id, first.reason, labelled=dataset.contents.labelled)
        count.add_unreadable(len(unreadable), first.id, first.reason)


def _bad_image(name: str, reason: str, *, labelled: bool) -> DatasetError:
    """Returns the error for one image; unlabelled images are asked for one by one, so that none can be skipped."""
    other = ", or use --on-bad-image skip" if labelled else ""
    return DatasetError(f"image '{name}' cannot be used: {reason}; repair or remove it{other}")
