"""Computes the missing rows of all banks of an extraction in one pass over the images.

Threads decode the images and prepare the inputs of the networks; engines run the networks; threads write the features.
Several batches are under way at a time, so that none of the three waits for the others. An image is decoded once for
all networks and views, and duplicates, which have the same content digest, are computed once.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from featurebank.augment import augment
from featurebank.bank.background import BackgroundWriter
from featurebank.bank.index import contained
from featurebank.bank.items import Items
from featurebank.dataset import Dataset
from featurebank.dataset.decoding.decode import in_flight
from featurebank.dataset.decoding.levels import Levels
from featurebank.engine.feed import Bad, Batch, Prepared, feed
from featurebank.errors import BadImageError, DatasetError
from featurebank.extraction.bad_images import BadImages
from featurebank.extraction.options import ExtractOptions
from featurebank.extraction.plan import ExtractionJob, schedule
from featurebank.extraction.state import state_of
from featurebank.extraction.target import Running, Target
from featurebank.system.meter import Meter
from featurebank.system.progress import Advance, Reporter
from featurebank.system.runtime import threads
from featurebank.words import counted


class Lane(NamedTuple):
    """What a batch is computed for: the number of a bank, and the taps to compute. An engine serves one lane."""

    bank: int
    taps: tuple[str, ...]


@dataclass
class ExtractionPass:
    """Fills the banks of one extraction; the caller holds the locks of the banks."""

    dataset: Dataset
    targets: Sequence[Target]
    options: ExtractOptions
    reporter: Reporter
    meter: Meter
    bad: dict[bytes, str] = field(default_factory=dict)
    """Why an image cannot be decoded, by the digest of its content."""

    def run(self) -> None:
        """Computes all missing rows.

        Raises:
            ConfigError: a requested tap is already stored with another dtype.
            DatasetError: an image cannot be used and `on_bad_image` is "fail", or too many images cannot be used.
        """
        self._check_readable()
        unreadable = self.dataset.unreadable
        self._place = np.zeros(len(self.dataset), np.int64)  # the position of each image in the order of reading
        self._bad_images = BadImages(len(self.dataset), self.dataset.spec, self.options.max_bad)
        if unreadable:
            self._bad_images.add_unreadable(len(unreadable), unreadable[0].id, unreadable[0].reason)
        contents, first = np.unique(self.dataset.digests, return_index=True)
        self._contents, self._first = contents, first  # the distinct digests, and the first image of each
        self._retry_bad_images()
        readable = contents[(contents != b"") & ~np.isin(contents, self._bad_contents())]  # b"": an unreadable file
        if jobs := [job for target in self.targets for job in target.begin(readable)]:
            self._compute(jobs)

    def busy(self, seconds: float) -> dict[str, float]:
        """Returns the fraction of a period (s) in which each part worked; for decoding, the mean over the threads."""
        return {
            "decode": self.meter.share("decode", seconds, threads()), "forward": self.meter.share("forward", seconds),
            "write": self.meter.share("write", seconds), "load": self.meter.share("load", seconds),
        }  # fmt: skip

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
        items = Items(dataset.ids, dataset.digests, dataset.labels, dataset.splits, dataset.metadata).select(good)
        for target in self.targets:
            target.finish(items, skipped, seconds, self.busy(seconds))
        return len(np.unique(items.digests))

    def skipped(self) -> list[dict[str, str]]:
        """Returns `id`, `reason` and (if the file is readable) `digest` of each image that cannot be used, by id."""
        entries = [{"id": s.id, "reason": s.reason} for s in self.dataset.unreadable]
        for index in np.flatnonzero(np.isin(self.dataset.digests, self._bad_contents())).tolist():
            content = bytes(self.dataset.digests[index])
            entries.append({"id": self.dataset.ids[index], "reason": self.bad[content], "digest": content.decode()})
        return sorted(entries, key=lambda entry: entry["id"])

    def _check_readable(self) -> None:
        """Raises DatasetError if a file cannot be read and `on_bad_image` is "fail"."""
        if self.options.on_bad_image == "fail" and self.dataset.unreadable:
            first = self.dataset.unreadable[0]
            raise _bad_image(first.id, first.reason)

    def _retry_bad_images(self) -> None:
        """Tries to decode the images that the last extraction could not decode.

        This comes before the plan: the images that still fail need no rows, and if only these lack rows, no engine is
        loaded.
        """
        known = np.concatenate([state_of(target.writer.contents).bad for target in self.targets])
        again = self._first[np.isin(self._contents, known)].tolist()

        def decode(index: int) -> Prepared[Lane]:
            with in_flight():
                for levels in dict.fromkeys(target.backbone.levels for target in self.targets):
                    self._image(index, levels)
            return ()

        for item in feed(decode, again, self.options.batch_size):
            self._record(item)

    def _record(self, item: Bad | Batch[Lane]) -> None:
        """Records that the images of a batch are good, or that an image is bad.

        Raises:
            DatasetError: the image is bad and `on_bad_image` is "fail", or too many images are bad.
        """
        if not isinstance(item, Bad):
            self._bad_images.good(int(self._place[item.indices].max()))
            return
        if self.options.on_bad_image == "fail":
            raise _bad_image(self.dataset.ids[item.index], item.reason)
        self._bad_images.add(
            self.dataset.ids[item.index], item.reason, place=int(self._place[item.index]), lost=item.lost
        )
        self.bad[bytes(self.dataset.digests[item.index])] = item.reason

    def _bad_contents(self) -> np.ndarray:
        return np.array(list(self.bad), dtype="S32")

    def _compute(self, jobs: Sequence[ExtractionJob]) -> None:
        rows = sum(len(job.digests) for job in jobs)
        unit = "images" if len({(job.bank, job.view) for job in jobs}) == 1 else "rows"
        with contextlib.ExitStack() as stack:
            writers = [stack.enter_context(BackgroundWriter(t.writer, self.meter)) for t in self.targets]
            for target in self.targets:
                stack.callback(target.close)
            advance = stack.enter_context(self.reporter.track("extract", rows, unit))
            batches = stack.enter_context(contextlib.closing(self._batches(jobs)))
            self._forward(batches, writers, advance)

    def _forward(
        self, batches: Iterator[Batch[Lane] | Bad], writers: Sequence[BackgroundWriter], advance: Advance
    ) -> None:
        """Sends batches to the engines and their features to the writers, in order.

        Each engine has `depth` batches under way: the next ones are submitted before the features of the first arrive.
        """
        running: deque[tuple[Target, Running]] = deque()

        def store_first() -> None:
            target, first = running.popleft()
            advance(target.store(first, self.dataset, writers[target.number]))

        for batch in batches:
            self._record(batch)
            if isinstance(batch, Bad):
                continue
            target = self.targets[batch.lane.bank]
            depth = target.depth(batch.lane.taps)
            while len(running) >= depth:
                store_first()
            self.meter.start("forward")  # before `submit`, because some engines compute before `submit` returns
            sent = target.submit(batch.lane.taps, batch)
            sent.parts[-1].add_done_callback(lambda _: self.meter.stop("forward"))
            running.append((target, sent))
        while running:
            store_first()
        self._bad_images.end()
        for target in self.targets:
            target.report_precision()  # with few images, it was not reported during the pass

    def _batches(self, jobs: Sequence[ExtractionJob]) -> Generator[Batch[Lane] | Bad, None, None]:
        """Yields the inputs of the networks in batches; each image is decoded once for all its jobs."""
        distinct, numbers, offsets = schedule(jobs)
        indices = self._first[contained(self._contents, distinct)]
        place = self._place
        place[indices] = np.arange(len(indices))

        def prepare(index: int) -> Prepared[Lane]:
            of_image = numbers[offsets[place[index]] : offsets[place[index] + 1]].tolist()
            with self.meter.working("decode"), in_flight():
                return self._inputs(index, [jobs[number] for number in of_image])

        return feed(prepare, map(int, indices), self.options.batch_size)

    def _inputs(self, index: int, jobs: Sequence[ExtractionJob]) -> Prepared[Lane]:
        """Decodes an image and returns the input of each of its jobs."""
        decoded: dict[Levels | None, np.ndarray] = {}
        resized: dict[tuple[int, str, Levels | None], np.ndarray] = {}
        inputs = []
        for job in jobs:
            backbone = self.targets[job.bank].backbone
            key = backbone.image_size, backbone.resize_rule, backbone.levels
            if key not in resized:
                if backbone.levels not in decoded:
                    decoded[backbone.levels] = self._image(index, backbone.levels)
                resized[key] = backbone.resize(decoded[backbone.levels])
            inputs.append((Lane(job.bank, job.taps), job.view, self._view(resized[key], index, job.view)))
        return inputs

    def _image(self, index: int, levels: Levels | None) -> np.ndarray:
        """Decodes an image; if its file was deleted or changed meanwhile, decodes a duplicate."""
        try:
            return self.dataset.image(index, levels)
        except BadImageError:
            for other in np.flatnonzero(self.dataset.digests == self.dataset.digests[index]).tolist():
                if other != index:
                    with contextlib.suppress(BadImageError):
                        return self.dataset.image(other, levels)
            raise

    def _view(self, image: np.ndarray, index: int, view: int) -> np.ndarray:
        """Returns the augmented image; view 0 is the image itself."""
        if view == 0:
            return image
        assert self.options.augmentation, "the recipe of a bank with views, and so its options, have an augmentation"
        digests = self.dataset.digests[index : index + 1]
        return np.squeeze(augment(image[np.newaxis], self.options.augmentation, digests, view), axis=0)


def _bad_image(name: str, reason: str) -> DatasetError:
    return DatasetError(f"image '{name}' cannot be used: {reason}; repair or remove it, or use --on-bad-image skip")
